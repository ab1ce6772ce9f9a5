"""How a data set's frames lie on disk: the format's own files beside the same arrays,
so that every format can be trained on.
"""

from __future__ import annotations

from streamdit_gym.data.storage.lerobot import LeRobot
from streamdit_gym.data.storage.minari import Minari
from streamdit_gym.data.storage.storage import Mkv, Mp4, Storage
from streamdit_gym.data.storage.webdataset import WebDataset
from streamdit_gym.errors import UnknownNameError

STORAGES: dict[str, type[Storage]] = {
    "mkv": Mkv,
    "mp4": Mp4,
    "lerobot": LeRobot,
    "minari": Minari,
    "webdataset": WebDataset,
}


def storage(name: str) -> Storage:
    """Return a storage by name.

    Raises:
        UnknownNameError: if there is none of that name.
    """
    if name not in STORAGES:
        raise UnknownNameError("format", name, STORAGES)
    return STORAGES[name]()
