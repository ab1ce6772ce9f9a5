"""Which sizes frames can have, and how many times smaller an autoencoder makes them."""

from __future__ import annotations

from streamdit_gym.errors import ShapeError

PATCH = 2  # latent cells on a side of a token, in every preset that is trained
MAX_SMALL_PIXELS = 64 * 64  # of frames whose latents are 8 times smaller; of larger ones 16 times
SMALL_STRIDE = 8
LARGE_STRIDE = 16


def stride_of(frame_size: tuple[int, int]) -> int:
    """Return how many pixels a latent cell has on a side."""
    height, width = frame_size
    return SMALL_STRIDE if height * width <= MAX_SMALL_PIXELS else LARGE_STRIDE


def check_multiples(frame_size: tuple[int, int]) -> None:
    """Refuse frames that whole tokens do not cover.

    Raises:
        ShapeError: with the nearest size that is allowed.
    """
    if _is_covered(frame_size):
        return
    height, width = _nearest(frame_size, PATCH * stride_of(frame_size))
    if not _is_covered((height, width)):  # rounded up to more pixels than small frames have
        height, width = _nearest(frame_size, PATCH * LARGE_STRIDE)
    raise ShapeError(
        "frames of this size cannot be cut into tokens",
        given=f"{frame_size[0]} x {frame_size[1]} pixels",
        allowed=f"multiples of {PATCH * SMALL_STRIDE} up to {MAX_SMALL_PIXELS} pixels in all, "
        f"else multiples of {PATCH * LARGE_STRIDE}",
        remedy=f"frame_size=({height}, {width})",
    )


def _is_covered(frame_size: tuple[int, int]) -> bool:
    multiple = PATCH * stride_of(frame_size)
    return all(side % multiple == 0 and side > 0 for side in frame_size)


def _nearest(frame_size: tuple[int, int], multiple: int) -> tuple[int, int]:
    height, width = (max(multiple, multiple * round(side / multiple)) for side in frame_size)
    return height, width
