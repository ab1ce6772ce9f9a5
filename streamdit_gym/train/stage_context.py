"""What a training works on, and what every stage of it shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamdit_gym.checks import check_real
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.definition import WorldSpec
from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.presets import Preset, sizes_for
from streamdit_gym.recipes import Recipe
from streamdit_gym.text.prompt_encoder import PromptEncoder
from streamdit_gym.train.stage_run import MAX_MINUTES, Budget
from streamdit_gym.world import World


class TimeUpError(Exception):
    """The minutes of a call were over before a stage was done; internal to training."""


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """What a world is trained from.

    Attributes:
        spec: the world's definition.
        dataset: recorded with the same definition.
        make_encoder: returns what embeds the data set's phrases; called only if they were never
            embedded.
        base_world: the trained world to continue from, loaded; None: from nothing.
        relabelled: data sets of generated frames relabelled by the simulator (DAgger).
    """

    spec: WorldSpec
    dataset: Dataset
    make_encoder: Callable[[], PromptEncoder]
    base_world: World | None = None
    relabelled: tuple[Dataset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and for how long a call trains.

    Attributes:
        folder: the run folder; a call with the same folder resumes.
        device: ``"cpu"`` or ``"cuda"``.
        minutes: stop this call after so long; None: when all steps are done.
        compile: compile the transformer.
        checkpoint_s: seconds between two checkpoints.
    """

    folder: Path
    device: str = "cpu"
    minutes: float | None = None
    compile: bool = False
    checkpoint_s: float = 120.0

    def __post_init__(self) -> None:
        if self.minutes is not None:
            minutes = check_real("minutes", self.minutes, least=0, most=MAX_MINUTES)
            object.__setattr__(self, "minutes", minutes)

    def budget(self, steps: int, end_with_minutes: bool = False) -> Budget:
        """Return the budget of a stage of so many steps."""
        return Budget(steps=steps, minutes=self.minutes, end_with_minutes=end_with_minutes)


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What every stage of a training shares.

    Attributes:
        inputs: what the world is trained from.
        recipe: how.
        options: where, and for how long the whole call trains.
        start: when the call began.
    """

    inputs: TrainingInputs
    recipe: Recipe
    options: RunOptions
    start: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> str:
        """Where to compute."""
        return self.options.device

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.options.folder

    @property
    def sizes(self) -> Preset:
        """The sizes of autoencoder and transformer."""
        return sizes_for(self.recipe.preset, self.inputs.spec.frame_size)

    @property
    def base_world(self) -> World | None:
        """The trained world to continue from."""
        return self.inputs.base_world

    @property
    def adapts_autoencoder(self) -> bool:
        """Whether a continued world's whole autoencoder is trained on."""
        continuation = self.recipe.continue_from
        return continuation is not None and continuation.adapt_autoencoder

    def stage_options(self) -> RunOptions:
        """Return the options of a stage that begins now: with the minutes that are left."""
        options = self.options
        if options.minutes is None:
            return options
        spent_s = time.monotonic() - self.start
        minutes = options.minutes - spent_s / 60
        return replace(options, minutes=max(0.0, minutes))


def has_global_channels(codec: LatentCodec) -> bool:
    """Return whether some latent channels are the same all over a frame, and tell its colours."""
    return codec.spatial_channels < codec.channels


def require_finished(finished: bool) -> None:
    """Raise TimeUpError unless a stage is done."""
    if not finished:
        raise TimeUpError
