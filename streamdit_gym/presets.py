"""Named configurations of codec and transformer, and named partitions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from streamdit_gym.checks import check_choice, check_str, shown
from streamdit_gym.errors import PartitionError, UnknownNameError
from streamdit_gym.frame_sizes import check_multiples, stride_of
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

PARTITIONS = {
    # the next frame already obeys
    "reactive": Partition(references=4),
    # four frames in the buffer: smoother, and prompts act three frames later
    "pipelined": Partition(references=4, chunks=4),
}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A codec and a transformer that fit each other, for frames of 64 x 64 pixels.

    Attributes:
        codec: the codec; None: only the transformer is built (benchmarks).
        model: the transformer.
    """

    codec: ConvCodecConfig | None
    model: StreamDiTConfig


PRESETS = {
    # for tests
    "tiny": Preset(
        codec=ConvCodecConfig(width=16, blocks=1), model=StreamDiTConfig(width=64, depth=2, heads=2)
    ),
    # small worlds that are trained in minutes
    "mini": Preset(
        codec=ConvCodecConfig(decoder_blocks=1),
        model=StreamDiTConfig(width=96, depth=4, heads=3, refiner_channels=48),
    ),
    # worlds that run on a CPU
    "small": Preset(
        codec=ConvCodecConfig(),
        model=StreamDiTConfig(width=192, depth=6, heads=6, refiner_channels=96, refiner_blocks=2),
    ),
    # worlds that are trained and run on a GPU
    "base": Preset(codec=ConvCodecConfig(), model=StreamDiTConfig(width=384, depth=10, heads=12)),
    # the size of the paper's model: 512 x 512 pixels, latents 64 x 64 x 16, shifted windows, about
    # 4 billion weights
    "paper-4b": Preset(
        codec=None,
        model=StreamDiTConfig(
            channels=16,
            grid=(64, 64),
            patch=2,
            width=2560,
            depth=28,
            heads=20,
            text_width=4096,
            window=(4, 16, 16),
            causal=False,
            references=0,
            refiner_channels=0,
        ),
    ),
}


def preset(name: str) -> Preset:
    """Return a preset.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    return PRESETS[check_choice("preset", name, PRESETS)]


def sizes_for(name: str, frame_size: tuple[int, int]) -> Preset:
    """Return a preset for frames of a size: the same networks, on another grid.

    One window holds all tokens of a frame, as in the preset. A preset without a codec stays as it
    is.

    Args:
        name: name of the preset.
        frame_size: height and width in pixels.

    Raises:
        UnknownNameError: if there is no such preset.
        ShapeError: if tokens do not cover frames of this size.
    """
    sizes = preset(name)
    if sizes.codec is None:
        return sizes
    check_multiples(frame_size)
    codec = replace(sizes.codec, frame_size=frame_size, stride=stride_of(frame_size))
    model = replace(sizes.model, grid=codec.grid)
    frames, _, _ = model.window
    rows, columns = model.token_grid
    return Preset(codec=codec, model=replace(model, window=(frames, rows, columns)))


def partition(name: str | Partition) -> Partition:
    """Return a partition by name (``reactive``, ``pipelined``) or short form (``K4N2c1s1``).

    Raises:
        ArgumentError: if it is neither a text nor a `Partition`.
        PartitionError: if it is neither a name nor a short form, or out of range.
    """
    if isinstance(name, Partition):
        return name
    text = check_str("partition", name)
    if text in PARTITIONS:
        return PARTITIONS[text]
    try:
        return Partition.parse(text)
    except PartitionError as error:
        raise PartitionError(
            f"unknown partition {shown(text)}",
            given=shown(text),
            allowed=f"{', '.join(PARTITIONS)}, or K<refs>N<chunks>c<frames>s<steps>",
            remedy=UnknownNameError("partition", text, PARTITIONS).remedy,
        ) from error


def partition_for(world: World, name: str | Partition) -> Partition:
    """Return a partition as `partition` does; a named one takes the world's own micro steps.

    They are those of the transformer that serves such a buffer.

    Raises:
        ArgumentError, PartitionError: as `partition`.
    """
    chosen = partition(name)
    if not isinstance(name, str) or name not in PARTITIONS:
        return chosen
    config = world.model_for(chosen).config
    return replace(chosen, micro_steps=config.micro_steps)
