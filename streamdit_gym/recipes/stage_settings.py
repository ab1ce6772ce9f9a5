"""How each stage of a training learns."""

from __future__ import annotations

from dataclasses import dataclass

from streamdit_gym.checks import check_choice, check_fields, check_real, check_str
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.recipes import limits
from streamdit_gym.stream.partition import Partition

CHANNELS_PER_COLOUR = 3
WEIGHTINGS = ("foreground", "motion", "colour")
CORRUPTIONS = ("warp", "none")
OBJECTIVES = ("regression", "flow")


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """How the autoencoder learns.

    Attributes:
        steps: optimizer steps.
        batch: frames per step, in triplets of neighbouring frames.
        muon_rate: peak learning rate of Muon, for the inner convolutions of encoder and decoder.
        adamw_rate: peak learning rate of AdamW, for everything else.
        weighting: which pixels weigh more: ``"foreground"``, those that differ from the frame's
            background; ``"motion"``, those that move, measured from the recordings; or
            ``"colour"``, those of rare colours, for scenes in which all moves and small bright
            things matter. Where another autoencoder's frames of the same scenes are at hand, each
            of their colours weighs the same instead.
        foreground_weight: their extra weight, beside 1 for every pixel; the largest one by motion,
            where all that moves weighs as much as all that does not.
        latent_noise: largest standard deviation of the noise put on the latents.
        global_noise: likewise on the global channels, which are the same all over a frame and tell
            its colours.
        straightness_weight: weight of the squared curvature of the latents over a triplet.
        interpolation_probability: share of the triplets whose middle frame is rebuilt from the mean
            of its neighbours' latents.
        alignment_weight: weight of the squared distance between the spatial channels and those of
            the autoencoder that training continues from, see `AlignedFrames`.
        decoder_only: keep the encoder, and so every latent made with it.
        standardise: in the end, measure latents from their mean in every cell, and in its standard
            deviations. Where a ground takes most of the latents' variance, what moves is small, and
            a transformer learns it late. All constants on latents are in such units then; those of
            an autoencoder that trains on are, too. Where another autoencoder's latents of the same
            scenes are kept, nothing is measured.
        max_frames: most frames kept in memory.
        max_minutes_share: largest share of a call's minutes, if it has any; the learning rates end
            with them, and a later call does not go on with it.
    """

    steps: int = 5700
    batch: int = 60
    muon_rate: float = 4e-3
    adamw_rate: float = 2e-3
    weighting: str = "foreground"
    foreground_weight: float = 12.0
    latent_noise: float = 0.2
    global_noise: float = 0.1
    straightness_weight: float = 0.01
    interpolation_probability: float = 0.5
    alignment_weight: float = 1.0
    decoder_only: bool = False
    standardise: bool = False
    max_frames: int = 120_000
    max_minutes_share: float = 1.0

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_fields(
            self,
            ints={
                "steps": limits.STEPS,
                "batch": (3, limits.MAX_BATCH),
                "max_frames": (1, limits.MAX_FRAMES_IN_MEMORY),
            },
            reals={
                "muon_rate": limits.LEARNING_RATE,
                "adamw_rate": limits.LEARNING_RATE,
                "foreground_weight": limits.WEIGHT,
                "latent_noise": limits.WEIGHT,
                "global_noise": limits.WEIGHT,
                "straightness_weight": limits.WEIGHT,
                "interpolation_probability": limits.FRACTION,
                "alignment_weight": limits.WEIGHT,
                "max_minutes_share": limits.POSITIVE_FRACTION,
            },
            bools=("decoder_only", "standardise"),
        )
        if self.decoder_only and self.standardise:
            raise StreamDiTError(
                "standardised latents are others, and a decoder alone keeps them",
                given="decoder_only with standardise",
                allowed="one of the two",
                remedy="leave one of them out",
            )


@dataclass(frozen=True, kw_only=True)
class ReadoutTraining:
    """How the readout of states, rewards and successes learns.

    Attributes:
        steps: optimizer steps; 0: keep the readout of the world that training continues from.
        batch: frames per step.
        adamw_rate: peak learning rate of AdamW.
        latent_noise: largest standard deviation of the noise on the latents, so that generated ones
            are read as well.
    """

    steps: int = 6000
    batch: int = 512
    adamw_rate: float = 2e-3
    latent_noise: float = 0.1

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": limits.STEPS, "batch": (1, limits.MAX_BATCH)},
            reals={"adamw_rate": limits.LEARNING_RATE, "latent_noise": limits.WEIGHT},
        )


@dataclass(frozen=True, kw_only=True)
class TransitionTraining:
    """How the readout of the environment's own reward and end learns, in worlds that have them.

    Attributes:
        steps: optimizer steps.
        batch: transitions per step.
        adamw_rate: peak learning rate of AdamW.
        latent_noise: largest standard deviation of the noise on the latents, so that generated ones
            are read as well.
        end_share: share of a batch that ends an episode; ends are rare.
    """

    steps: int = 4000
    batch: int = 256
    adamw_rate: float = 2e-3
    latent_noise: float = 0.1
    end_share: float = 0.1

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={"steps": limits.STEPS, "batch": (1, limits.MAX_BATCH)},
            reals={
                "adamw_rate": limits.LEARNING_RATE,
                "latent_noise": limits.WEIGHT,
                "end_share": limits.FRACTION,
            },
        )


@dataclass(frozen=True, kw_only=True)
class AppearanceTraining:
    """How the optional appearance module learns to read colours from prompts.

    Attributes:
        channels: latent channels added to the world that training continues from, three to a
            colour; its own channels go on telling where things are.
        steps: optimizer steps.
        batch: frames per step, half of them with a change of appearance.
        adamw_rate: peak learning rate of AdamW.
        prompt_noise: noise on the embeddings, in their standard deviations.
    """

    channels: int = 0
    steps: int = 6000
    batch: int = 256
    adamw_rate: float = 1e-3
    prompt_noise: float = 0.5

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={
                "channels": (0, limits.MAX_APPEARANCE_CHANNELS),
                "steps": limits.STEPS,
                "batch": (1, limits.MAX_BATCH),
            },
            reals={"adamw_rate": limits.LEARNING_RATE, "prompt_noise": limits.WEIGHT},
        )
        if self.channels % CHANNELS_PER_COLOUR:
            raise StreamDiTError(
                "appearance channels come three to a colour",
                given=f"appearance.channels {self.channels}",
                allowed="0, or a multiple of three",
                remedy="for example channels=15",
            )


@dataclass(frozen=True, kw_only=True)
class DynamicsTraining:
    """How the transformer learns.

    Attributes:
        objective: ``"regression"``: predict the likeliest clean latents, best where the future is
            determined; or ``"flow"``, the paper's: from noise to one of many futures, with plain
            squared errors of velocities at all noise levels.
        steps: optimizer steps.
        clips: clips per step.
        clip_frames: next-frame problems per clip.
        partitions: partitions mixed in besides N = 1, with their share of the steps.
        micro_steps: s of the sampler that the model is trained for, and of named partitions; of a
            model with several, distillation makes one with one.
        guidance: weight of the prompt while sampling, see `StreamDiTConfig`.
        sampler_time_share: share of steps (of a moving buffer's rows) at the exact noise levels of
            that sampler; the others are anywhere.
        motion_weight: extra weight of latents that must change from what the frame before shows, be
            it motion or repair, beside 1 for all.
        reference_noise: largest noise on the references (1 - t); the model is told how much there
            is.
        reference_noise_share: share of clips with noise on their references.
        rollout_probability: chance that a clip goes on from its predictions of the step before.
        rollout_ramp: part of the training in which that chance rises from zero.
        max_rollout_depth: most predictions in a row.
        max_rollout_error: mean squared error of a prediction beyond which the recorded frames
            belong to another future, and are no target any more.
        max_still_share: the same, as a share of the error of a frame that had stood still since the
            rollout began, which does not depend on how small a thing moves; 0: no such bound.
        corruption: how references are corrupted beside noise: ``"warp"``, things in them bend,
            move and fade (`ContextCorruption`), or ``"none"``.
        corruption_probability: chance in each step that a clip's references are corrupted.
        prompt_dropout: share of frames without prompt.
        prompt_noise: noise on the embeddings, in their standard deviations.
        token_dropout: largest share of tokens that is hidden, in half of the prompts; the pooled
            embedding never is.
        muon_rate: peak learning rate of Muon, for the blocks' matrices.
        adamw_rate: peak learning rate of AdamW, for everything else.
        rate_scale: factor on both; about a half to go on from a trained world.
        cooldown: last part of the training, in which the learning rates go to zero linearly.
        average_decay: of the averaged weights.
        velocity_floor: smallest 1 - t to divide by in the loss.
        robust_scale: root mean squared error of a latent (over its channels) beyond which the loss
            hardly grows.
        squared_weight: weight of the squared error in the loss, in the end.
        squared_fade: first part of the training, in which one more squared error fades out: it
            alone finds what is far off.
        readback_deadline: part of the training after which it stops if the actions cannot be read
            back from the model's own frames; 0: it goes on.
        text_only: learn what reads prompts and nothing else; what draws stays as it is.
        end_with_minutes: the learning rates also end with the minutes of the call, if it has any
            and those are over before the steps.
    """

    objective: str = "regression"
    steps: int = 12_000
    clips: int = 20
    clip_frames: int = 8
    partitions: tuple[tuple[str, float], ...] = (
        ("K4N2c1s1", 0.03),
        ("K4N4c1s1", 0.07),
        ("K0N1c8s1", 0.02),
    )
    micro_steps: int = 1
    guidance: float = 1.0
    sampler_time_share: float = 0.9
    motion_weight: float = 8.0
    reference_noise: float = 0.1
    reference_noise_share: float = 0.5
    rollout_probability: float = 0.93
    rollout_ramp: float = 0.1
    max_rollout_depth: int = 64
    max_rollout_error: float = 0.1
    max_still_share: float = 0.0
    corruption: str = "warp"
    corruption_probability: float = 0.16
    prompt_dropout: float = 0.05
    prompt_noise: float = 0.5
    token_dropout: float = 1.0
    muon_rate: float = 4e-3
    adamw_rate: float = 1.2e-3
    rate_scale: float = 1.0
    cooldown: float = 0.6
    average_decay: float = 0.999
    velocity_floor: float = 0.3
    robust_scale: float = 0.3
    squared_weight: float = 0.02
    squared_fade: float = 0.5
    readback_deadline: float = 0.0
    text_only: bool = False
    end_with_minutes: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ints={
                "steps": limits.STEPS,
                "clips": (1, limits.MAX_BATCH),
                "clip_frames": (1, limits.MAX_CLIP_FRAMES),
                "micro_steps": (1, limits.MAX_MICRO_STEPS),
                "max_rollout_depth": limits.STEPS,
            },
            reals={
                "guidance": (0, limits.MAX_GUIDANCE),
                "sampler_time_share": limits.FRACTION,
                "motion_weight": limits.WEIGHT,
                "reference_noise": limits.FRACTION,
                "reference_noise_share": limits.FRACTION,
                "rollout_probability": limits.FRACTION,
                "rollout_ramp": limits.POSITIVE_WEIGHT,
                "max_rollout_error": limits.WEIGHT,
                "max_still_share": limits.FRACTION,
                "corruption_probability": limits.FRACTION,
                "prompt_dropout": limits.FRACTION,
                "prompt_noise": limits.WEIGHT,
                "token_dropout": limits.FRACTION,
                "muon_rate": limits.LEARNING_RATE,
                "adamw_rate": limits.LEARNING_RATE,
                "rate_scale": (0, limits.MAX_RATE_SCALE),
                "cooldown": limits.POSITIVE_FRACTION,
                "average_decay": limits.FRACTION,
                "velocity_floor": limits.POSITIVE_FRACTION,
                "robust_scale": limits.POSITIVE_WEIGHT,
                "squared_weight": limits.WEIGHT,
                "squared_fade": limits.POSITIVE_FRACTION,
                "readback_deadline": limits.FRACTION,
            },
            bools=("text_only", "end_with_minutes"),
        )
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("corruption", self.corruption, CORRUPTIONS)
        for text, share in self.partitions:
            Partition.parse(text)
            check_real(f"share of partition {text}", share, least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Which trained world a training continues from, and what of it changes.

    Attributes:
        world: shipped name, folder or Hub id.
        adapt_autoencoder: train that world's whole autoencoder on, for frames that look otherwise
            than its own; what a latent means may change. Otherwise its latents are kept.
        new_transformer: start with that world's autoencoder, and with a transformer of the
            recipe's own size that has learned nothing.
        decoder_steps: optimizer steps of that world's decoder alone; its latents stay.
        weight_interpolation: share that the continued transformer has in the final weights. What it
            draws suffers less from a short training, and what is new is learned nearly as well
            (Wortsman et al., arXiv 2109.01903).
    """

    world: str
    adapt_autoencoder: bool = False
    new_transformer: bool = False
    decoder_steps: int = 0
    weight_interpolation: float = 0.0

    def __post_init__(self) -> None:
        check_str("continue_from.world", self.world)
        check_fields(
            self,
            ints={"decoder_steps": limits.STEPS},
            reals={"weight_interpolation": limits.FRACTION},
            bools=("adapt_autoencoder", "new_transformer"),
        )
        if self.new_transformer and self.weight_interpolation:
            raise StreamDiTError(
                "a new transformer has no weights to go back to",
                given=f"new_transformer with weight_interpolation {self.weight_interpolation}",
                allowed="one of the two",
                remedy="leave one of them out",
            )
        if self.adapt_autoencoder and self.decoder_steps:
            raise StreamDiTError(
                "a whole autoencoder adapts, or its decoder alone is trained on",
                given=f"adapt_autoencoder with decoder_steps {self.decoder_steps}",
                allowed="one of the two",
                remedy="leave one of them out",
            )
