"""What commands share that compute: the device, the threads, and the run folder."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.errors import StreamDiTError


def choose_device(name: str | None) -> str:
    """Return the device that a command names, or the best one here; torch is loaded only now."""
    from streamdit_gym.device import check_device, default_device

    return default_device() if name is None else check_device(name)


def set_threads(threads: int | None) -> None:
    """Compute with so many threads on a CPU; None measures, see `streamdit_gym.threads`."""
    from streamdit_gym.threads import choose_threads

    if threads is not None:
        choose_threads(lambda: None, threads=threads)


def check_new_run(folder: Path, resume: bool) -> None:
    """Refuse to begin a run in a folder that holds one, unless it shall be resumed."""
    if not resume and list(folder.glob("*.checkpoint.pt")):
        raise StreamDiTError(
            "a run is already here",
            given=folder,
            remedy="add --resume to go on with it, or give another --out",
        )


def check_minutes(by_minutes: bool, minutes: float | None) -> None:
    """Refuse --by-minutes without --minutes."""
    if by_minutes and minutes is None:
        raise StreamDiTError(
            "no minutes to go by",
            given="--by-minutes alone",
            allowed="--by-minutes with --minutes",
            remedy="say how long, --minutes 60",
        )
