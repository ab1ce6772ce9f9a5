"""The evaluator's own models: trained on real frames, kept on disk under an explicit version.

They depend on the simulator alone, never on the world that is evaluated. A world's definition
numbers them (`EvaluationAdapter.evaluator_version`): whoever changes how real frames look or move
raises the number. Models from disk are used only if they read real frames well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldDefinition, WorldSpec
from streamdit_gym.evaluate.inverse_dynamics import InverseDynamics, train_inverse_dynamics
from streamdit_gym.evaluate.state_probe import StateProbe, train_state_probe
from streamdit_gym.files import atomic_write

SHIPPED_FOLDER = Path(__file__).parent / "models"
MAX_ACTOR_ERROR_PX = 1.0  # median error on real frames beyond which evaluator models are weak
MIN_INVERSE_ACCURACY = 0.7  # accuracy on real frames below which they are weak
TRAINING_SHARD, CHECK_SHARD = 1, 3  # 0 and 2 are the held-out episodes of an evaluation
CHECK_EPISODES, CHECK_STEPS = 8, 32  # takes about a second


@dataclass(frozen=True, kw_only=True)
class EvaluatorTraining:
    """How evaluator models are trained.

    Attributes:
        episodes: real episodes.
        episode_steps: their length. As long as held-out episodes: later on, more is at the walls.
        probe_steps: training steps of the state probe.
        inverse_steps: training steps of the inverse-dynamics model.
        seed: of the episodes.
    """

    episodes: int = 160
    episode_steps: int = 256
    probe_steps: int = 5000
    inverse_steps: int = 4000
    seed: int = 20_000


FULL_TRAINING = EvaluatorTraining()


@dataclass(frozen=True, kw_only=True)
class StateErrors:
    """Errors of the state probe, one for each frame.

    Attributes:
        actor_px: distance between the read and the true position of the actor.
        body_px: the same of the body.
        body_degrees: angle between the read and the true orientation of the body.
    """

    actor_px: Float[np.ndarray, "e f"]
    body_px: Float[np.ndarray, "e f"]
    body_degrees: Float[np.ndarray, "e f"]


@dataclass(frozen=True, kw_only=True)
class EvaluatorModels:
    """The evaluator's models, trained on real frames."""

    probe: StateProbe
    inverse: InverseDynamics

    def actions_match(
        self, frames: UInt8[np.ndarray, "e f h w 3"], actions: Int[np.ndarray, "e s"]
    ) -> Bool[np.ndarray, "e s-1"]:
        """Return whether the action read off the frames is the one taken.

        Each episode's first action is left out: three frames are needed to read an action.
        """
        return self.inverse.predict(self.probe.features(frames)) == actions[:, 1:]

    def state_errors(
        self,
        frames: UInt8[np.ndarray, "e f h w 3"],
        states: Float[np.ndarray, "e f s"],
        reference: WorldDefinition,
        spec: WorldSpec,
    ) -> StateErrors:
        """Return how far the states that the probe reads are from the true ones."""
        predicted, _ = self.probe.read(frames)
        evaluation = reference.evaluation
        assert evaluation.actor is not None
        assert evaluation.body is not None
        actor = [spec.state_names.index(name) for name in evaluation.actor]
        x, y, cosine, sine = (spec.state_names.index(name) for name in evaluation.body)
        predicted_angle = np.arctan2(predicted[..., sine], predicted[..., cosine])
        true_angle = np.arctan2(states[..., sine], states[..., cosine])
        turn = predicted_angle - true_angle
        wrapped_turn = np.arctan2(np.sin(turn), np.cos(turn))
        return StateErrors(
            actor_px=_distance(predicted[..., actor], states[..., actor]),
            body_px=_distance(predicted[..., [x, y]], states[..., [x, y]]),
            body_degrees=np.degrees(np.abs(wrapped_turn)),
        )


def evaluator_models(
    spec: WorldSpec, reference: WorldDefinition, training: EvaluatorTraining, folder: Path
) -> EvaluatorModels:
    """Return evaluator models: the best on disk that read real frames well, or new ones.

    New ones are written to the folder.

    Args:
        spec: the world.
        reference: its simulator.
        training: how new ones are trained.
        folder: where those that are not shipped lie.
    """
    version = reference.evaluation.evaluator_version
    own_path = folder / file_name(spec.name, version, training)
    full_name = file_name(spec.name, version, FULL_TRAINING)
    check = None
    for path in dict.fromkeys([SHIPPED_FOLDER / full_name, folder / full_name, own_path]):
        models = load_evaluator_models(path, spec)
        if models is None:
            continue
        if check is None:
            check = _check_shard(spec, reference, training.seed)
        weakness = weakness_of(models, check, reference, spec)
        if weakness is None:
            return models
        print(f"not using {path}: {weakness}; if the simulator changed, raise evaluator_version")
    print(f"training evaluator models on {training.episodes} real episodes, to be kept in {folder}")
    models = train_evaluator_models(spec, reference, training)
    save_evaluator_models(models, own_path)
    return models


def file_name(world: str, version: int, training: EvaluatorTraining) -> str:
    """Return the file name of evaluator models; only fully trained ones have the short name."""
    if training == FULL_TRAINING:
        return f"{world}-v{version}.safetensors"
    size = (
        f"{training.episodes}x{training.episode_steps}-probe{training.probe_steps}"
        f"-inverse{training.inverse_steps}-seed{training.seed}"
    )
    return f"{world}-v{version}-{size}.safetensors"


def train_evaluator_models(
    spec: WorldSpec, reference: WorldDefinition, training: EvaluatorTraining
) -> EvaluatorModels:
    """Train evaluator models on real episodes of their own."""
    plan = RecordConfig(
        episodes=training.episodes, steps=training.episode_steps, seed=training.seed
    )
    shard = record_shard(reference, plan, TRAINING_SHARD)
    frames = shard.frames.reshape(-1, *shard.frames.shape[2:])
    states = shard.states.reshape(-1, shard.states.shape[-1])
    probe = train_state_probe(spec, frames, states, training.probe_steps)
    features = probe.features(shard.frames)
    inverse = train_inverse_dynamics(
        features, shard.actions, len(spec.menu), training.inverse_steps
    )
    return EvaluatorModels(probe=probe, inverse=inverse)


def save_evaluator_models(models: EvaluatorModels, path: Path) -> None:
    """Write evaluator models to a file, whole or not at all."""
    tensors = {
        f"{prefix}{name}": tensor.contiguous()
        for prefix, module in _modules(models)
        for name, tensor in module.state_dict().items()
    }
    with atomic_write(path) as part:
        save_file(tensors, part)


def load_evaluator_models(path: Path, spec: WorldSpec) -> EvaluatorModels | None:
    """Return evaluator models from a file; None if it is missing, damaged or of another world."""
    probe = StateProbe(spec).eval()
    inverse = InverseDynamics(probe.num_features, len(spec.menu)).eval()
    models = EvaluatorModels(probe=probe, inverse=inverse)
    try:
        tensors = load_file(path)
        for prefix, module in _modules(models):
            module.load_state_dict(_with_prefix(tensors, prefix))
    except (OSError, SafetensorError, RuntimeError):
        return None
    return models


def weakness_of(
    models: EvaluatorModels, real: Shard, reference: WorldDefinition, spec: WorldSpec
) -> str | None:
    """Return in what evaluator models err on real episodes; None if they read them well."""
    errors = models.state_errors(real.frames, real.states, reference, spec)
    actor_px = float(np.median(errors.actor_px))
    if not actor_px <= MAX_ACTOR_ERROR_PX:  # NaN is weak, too
        return f"the probe misses the actor by {actor_px:.1f} px (at most {MAX_ACTOR_ERROR_PX:g})"
    accuracy = float(models.actions_match(real.frames, real.actions).mean())
    if accuracy < MIN_INVERSE_ACCURACY:
        return (
            f"the inverse-dynamics model names {100 * accuracy:.0f} % of the actions"
            f" (at least {100 * MIN_INVERSE_ACCURACY:.0f} %)"
        )
    return None


def _check_shard(spec: WorldSpec, reference: WorldDefinition, seed: int) -> Shard:
    plan = RecordConfig(episodes=CHECK_EPISODES, steps=CHECK_STEPS, seed=seed)
    return record_shard(reference, plan, CHECK_SHARD)


def _modules(models: EvaluatorModels) -> Iterator[tuple[str, nn.Module]]:
    yield "probe.", models.probe
    yield "inverse.", models.inverse


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _distance(
    points: Float[np.ndarray, "*n 2"], others: Float[np.ndarray, "*n 2"]
) -> Float[np.ndarray, "*n"]:
    return np.linalg.norm(points - others, axis=-1)
