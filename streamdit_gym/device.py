"""Which device networks run on.

Takes: a device's name.  Gives: the name, once it is certain that the device is there.  Knows nothing of: networks.
"""

from __future__ import annotations

from typing import Any

import torch

from streamdit_gym.checks import check_str
from streamdit_gym.errors import UnknownNameError


def check_device(device: Any) -> str:
    """Return the name of a device that is there.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a `torch.device`.

    Raises:
        ArgumentError: if it is neither a text nor a `torch.device`.
        UnknownNameError: if there is no such device here.
    """
    name = str(device) if isinstance(device, torch.device) else check_str("device", device)
    available = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    try:
        kind = torch.device(name).type
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise UnknownNameError("device", name, available, "use device='cpu'") from error
    if kind not in ("cpu", "cuda"):  # such as "meta", which holds no numbers
        raise UnknownNameError("device", name, available, "use device='cpu'")
    return name


def default_device() -> str:
    """Return ``"cuda"`` if there is a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
