"""What commands share that compute: the device, the threads, and the run folder."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.errors import StreamDiTError


def choose_device(name: str | None) -> str:
    """Return the device that a command names, or the best one here; torch is loaded only now."""
    from streamdit_gym.device import check_device, default_device

    return default_device() if name is None else check_device(name)


def check_new_run(folder: Path, resume: bool) -> None:
    """Refuse to begin a run in a folder that holds one, unless it shall be resumed."""
    if not resume and list(folder.glob("*.checkpoint.*")):
        raise StreamDiTError(
            "a run is already here",
            given=folder,
            remedy="add --resume to go on with it, or give another --out",
        )
