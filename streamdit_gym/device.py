"""Which device networks run on."""

from __future__ import annotations

from typing import Any

import torch

from streamdit_gym.checks import check_str
from streamdit_gym.errors import UnknownNameError


def check_device(device: Any) -> str:
    """Return the name of a device that exists here.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a `torch.device`.

    Raises:
        ArgumentError: if it is neither a text nor a `torch.device`.
        UnknownNameError: if there is no such device here.
    """
    name = str(device) if isinstance(device, torch.device) else check_str("device", device)
    try:
        torch.zeros(1, device=name).item()  # "meta" is a device, too, and holds no numbers
    except Exception as error:  # every kind of device fails in a way of its own
        available = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise UnknownNameError("device", name, available, "use device='cpu'") from error
    return name


def default_device() -> str:
    """Return ``"cuda"`` if there is a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
