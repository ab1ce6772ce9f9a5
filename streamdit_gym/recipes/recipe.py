"""The whole configuration of a world's training."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamdit_gym.checks import check_choice, check_fields
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.presets import PRESETS
from streamdit_gym.recipes import limits
from streamdit_gym.recipes.distillation_settings import DecoderDistillation, Distillation
from streamdit_gym.recipes.stage_settings import (
    AppearanceTraining,
    AutoencoderTraining,
    Continuation,
    DynamicsTraining,
    ReadoutTraining,
    TransitionTraining,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides which weights come out of a data set.

    Attributes:
        preset: named size of autoencoder and transformer.
        continue_from: the trained world to start from; None: from nothing.
        autoencoder: how frames become latents.
        readout: how states and rewards are read from latents.
        transitions: how the environment's own reward and end are read from latents.
        appearance: how colours are read from prompts, in a world with appearance channels.
        dynamics: how the transformer learns.
        relabelled: folders of generated frames relabelled by the simulator (DAgger), trained on
            beside the recorded ones.
        distillation: how a student is distilled from the world.
        decoder: how its decoder becomes shallower.
        max_start_frames: most start frames in the bundle.
        prompt_encoder: folder or Hub id of the MiniLM encoder; None: the installed package, else
            the Hub.
    """

    preset: str = "small"
    continue_from: Continuation | None = None
    autoencoder: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    readout: ReadoutTraining = field(default_factory=ReadoutTraining)
    transitions: TransitionTraining = field(default_factory=TransitionTraining)
    appearance: AppearanceTraining = field(default_factory=AppearanceTraining)
    dynamics: DynamicsTraining = field(default_factory=DynamicsTraining)
    relabelled: tuple[str, ...] = ()
    distillation: Distillation = field(default_factory=Distillation)
    decoder: DecoderDistillation = field(default_factory=DecoderDistillation)
    max_start_frames: int = 512
    prompt_encoder: str | None = None

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, PRESETS)
        check_fields(self, ints={"max_start_frames": (1, limits.MAX_START_FRAMES)})
        self._check_text_only()
        self._check_appearance()

    @property
    def added_channels(self) -> int:
        """Latent channels that the continued world gets."""
        return self.appearance.channels

    @property
    def keeps_transformer(self) -> bool:
        """Whether the transformer continues from a trained one."""
        return self.continue_from is not None and not self.continue_from.new_transformer

    @property
    def autoencoder_steps(self) -> int:
        """Optimizer steps of the autoencoder; of a continued one that is kept, of its decoder."""
        start = self.continue_from
        if start is None or start.adapt_autoencoder:
            return self.autoencoder.steps
        return start.decoder_steps

    def _check_text_only(self) -> None:
        if self.dynamics.text_only and not self.keeps_transformer:
            raise StreamDiTError(
                "only a trained world can learn prompts alone",
                given="dynamics.text_only without a transformer to continue from",
                allowed="dynamics.text_only with continue_from and its transformer",
                remedy="name the world in continue_from, without new_transformer",
            )

    def _check_appearance(self) -> None:
        if not self.appearance.channels:
            return
        adapts = self.continue_from is not None and self.continue_from.adapt_autoencoder
        if not adapts or not self.keeps_transformer or not self.autoencoder.steps:
            raise StreamDiTError(
                "new appearance channels need an autoencoder that learns to use them",
                given=f"appearance.channels {self.appearance.channels}",
                allowed="continue_from with adapt_autoencoder and its transformer, and"
                " autoencoder.steps",
                remedy="set continue_from=Continuation(world=..., adapt_autoencoder=True)",
            )
