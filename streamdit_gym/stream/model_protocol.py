"""What the engine needs of a model: a view of frames in, their velocities out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from streamdit_gym.model.key_value_cache import KeyValueCache
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.types import BufferView, Conditioning


@runtime_checkable
class StreamModel(Protocol):
    """A transformer that moves streams.

    Attributes:
        config: shape of latents, most references, and how it samples.
        is_global: whether every frame sees every token of the frames that it may see.
        time_shift: how noise levels stand along the way from noise to data, see
            `streamdit_gym.stream.noise_levels.shifted`.
    """

    config: StreamDiTConfig
    time_shift: float

    @property
    def is_global(self) -> bool:
        """See above."""

    def forward(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        floor: float = 0.0,
        prepared: Any = None,
    ) -> tuple[Float[Tensor, "b n c h w"], KeyValueCache]:
        """Return velocities of the frames behind the view's context, and the longer cache."""

    def predict_clean(
        self,
        view: BufferView,
        prompts: Conditioning,
        cache: KeyValueCache | None = None,
        prepared: Any = None,
    ) -> tuple[Float[Tensor, "b n c h w"], KeyValueCache]:
        """Return the clean frames that it predicts, and the longer cache."""

    def prepare(self, prompts: Conditioning) -> Any:
        """Return what can be computed of prompts before a frame is seen."""

    def empty_cache(self, rows: int) -> KeyValueCache:
        """Return a cache of no frames."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights."""

    def modules(self) -> Iterator[nn.Module]:
        """Return the model's parts."""
