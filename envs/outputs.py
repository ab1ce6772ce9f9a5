"""The two forms in which an environment hands over its numbers: NumPy arrays or torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Array = np.ndarray | Tensor
Observe = Callable[..., Any]


class Output(Protocol):
    """Makes copies of an environment's tensors in the form that the caller asked for."""

    has_texts: bool  # whether infos may hold texts

    def observations(self, observations: Tensor) -> Array:
        """Return a copy of observations."""

    def rewards(self, rewards: Float[Tensor, " n"]) -> Array:
        """Return rewards."""

    def flags(self, flags: Bool[np.ndarray, " n"]) -> Array:
        """Return which rows have ended."""

    def final_observations(self, observe: Observe, ended: Bool[np.ndarray, " n"]) -> Array:
        """Return ended rows' last observations in the form of ``final_obs``.

        Args:
            observe: returns copies of the observations of some rows; without rows, of all.
            ended: which rows have ended.
        """


class NumpyOutput:
    """NumPy arrays on the host; rewards are float64, as Gymnasium has them."""

    has_texts = True

    def observations(self, observations: Tensor) -> Array:
        """Return a copy on the host."""
        return to_host(observations)

    def rewards(self, rewards: Float[Tensor, " n"]) -> Array:
        """Return float64 rewards."""
        return rewards.cpu().numpy().astype(np.float64)

    def flags(self, flags: Bool[np.ndarray, " n"]) -> Array:
        """Return the array itself."""
        return flags

    def final_observations(self, observe: Observe, ended: Bool[np.ndarray, " n"]) -> Array:
        """Return an array of objects: each ended row's observation, None for the others."""
        final = np.array([None] * len(ended), dtype=object)
        rows = np.flatnonzero(ended)
        for row, observation in zip(rows, observe(rows), strict=True):
            final[row] = observation.copy()
        return final


class TorchOutput:
    """Tensors that stay on the device.

    Infos hold no texts: other libraries make tensors of all infos.

    Args:
        device: where rewards and endings belong.
    """

    has_texts = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def observations(self, observations: Tensor) -> Array:
        """Return a copy on the device."""
        return observations.clone()

    def rewards(self, rewards: Float[Tensor, " n"]) -> Array:
        """Return the tensor itself."""
        return rewards

    def flags(self, flags: Bool[np.ndarray, " n"]) -> Array:
        """Return flags on the device."""
        return torch.from_numpy(flags).to(self._device)

    def final_observations(self, observe: Observe, ended: Bool[np.ndarray, " n"]) -> Array:
        """Return one tensor for all rows."""
        observations: Tensor = observe()
        return observations


def make_output(name: str, device: torch.device) -> Output:
    """Return the form of a name, ``numpy`` or ``torch``."""
    return TorchOutput(device) if name == "torch" else NumpyOutput()


def to_host(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a copy as an array.

    Off a GPU it is in pinned memory, which torch keeps for the next copy when nobody holds this one
    any more. The system hands out a large new array page by page, which takes longer than the
    copying. Pinned memory is dear: of arrays that you keep for long, keep copies.
    """
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return host.copy_(tensor).numpy()
