"""The evaluator's own models: trained on real frames, kept on disk under an explicit version.

They depend on the simulator alone, never on the world that is evaluated. A world's definition
numbers them (`EvaluationAdapter.evaluator_version`): whoever changes how real frames look or move
raises the number. Models from disk are used only if they read real frames well, or if they were no
better when they were trained: then the same training would give the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from streamdit_gym.actions import SpokenBox, action_numbers
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import EvaluationAdapter, WorldSpec
from streamdit_gym.evaluate.inverse_dynamics import (
    InverseDynamics,
    train_inverse_dynamics,
)
from streamdit_gym.evaluate.real_episodes import RealEpisodes
from streamdit_gym.evaluate.schema import MAX_ACTOR_ERROR
from streamdit_gym.evaluate.state_errors import state_errors
from streamdit_gym.evaluate.state_probe import (
    StateProbe,
    train_probe_on_actions,
    train_state_probe,
)
from streamdit_gym.evaluate.statistics import correlation
from streamdit_gym.files import atomic_write

SHIPPED_FOLDER = Path(__file__).parent / "models"
# skill on real frames below which they are weak: accuracy above chance, or a box's best correlation
MIN_SKILL = 0.3
MIN_TRAINING_STEPS = 300
PASSES = 30  # over the frames, at most: small worlds need no more
PROBE_BATCH = 64
WEAKNESS = "weakness"  # in a file's metadata: in what its models erred when they were trained


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

    def probe_steps_for(self, num_frames: int) -> int:
        """Return how many training steps the probe needs for so many frames."""
        enough = max(MIN_TRAINING_STEPS, PASSES * num_frames // PROBE_BATCH)
        return min(self.probe_steps, enough)


FULL_TRAINING = EvaluatorTraining()


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

    def read_actions(self, frames: UInt8[np.ndarray, "e f h w 3"]) -> np.ndarray:
        """Return the actions that led to every frame but the first two; of a box from -1 to 1."""
        return self.inverse.predict(self.probe.features(frames))


def evaluator_models(
    spec: WorldSpec,
    adapter: EvaluationAdapter,
    source: RealEpisodes,
    training: EvaluatorTraining,
    folder: Path,
) -> EvaluatorModels:
    """Return evaluator models: the best on disk that read real frames well, or new ones.

    New ones are written to the folder, even if they are weak. Whoever asks again gets weak ones
    from there: the same training would give no better ones.

    Args:
        spec: the world.
        adapter: their version, and what the world names.
        source: of real episodes.
        training: how new ones are trained.
        folder: where those that are not shipped lie.
    """
    world = "-".join(filter(None, [spec.name, source.name]))
    version = adapter.evaluator_version
    own_path = folder / file_name(world, version, training)
    full_name = file_name(world, version, FULL_TRAINING)
    paths = dict.fromkeys([SHIPPED_FOLDER / full_name, folder / full_name, own_path])
    check = source.check(training.seed)
    models = _models_from_disk(list(paths), spec, adapter, check)
    if models is not None:
        return models
    print(f"training evaluator models on real episodes, to be kept in {folder}")
    episodes = source.training(training.episodes, training.episode_steps, training.seed)
    models = train_evaluator_models(spec, episodes, training)
    weakness = weakness_of(models, check, spec, adapter)
    if weakness is not None:
        print(f"the new evaluator models are weak: {weakness}")
    save_evaluator_models(models, own_path, weakness)
    return models


def _models_from_disk(
    paths: Sequence[Path], spec: WorldSpec, adapter: EvaluationAdapter, check: Shard
) -> EvaluatorModels | None:
    """Return the first models that read real frames well, else any that never did."""
    known_weak = None
    for path in paths:
        models = load_evaluator_models(path, spec)
        if models is None:
            continue
        weakness = weakness_of(models, check, spec, adapter)
        if weakness is None:
            return models
        if weakness_in_training(path) is None:
            print(
                f"not using {path}: {weakness}; if the simulator changed, raise evaluator_version"
            )
        elif known_weak is None:
            print(f"the evaluator models in {path} are weak, and were when trained: {weakness}")
            known_weak = models
    return known_weak


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
    spec: WorldSpec, shard: Shard, training: EvaluatorTraining
) -> EvaluatorModels:
    """Train evaluator models on real episodes of their own."""
    steps = shard.actions.shape[1]
    is_real = np.arange(steps + 1) <= shard.lengths[:, None]
    probe_steps = training.probe_steps_for(int(is_real.sum()))
    if spec.state_names:
        frames = shard.frames.reshape(-1, *shard.frames.shape[2:])
        states = shard.states.reshape(-1, shard.states.shape[-1])
        probe = train_state_probe(spec, frames, states, is_real.ravel(), probe_steps)
    else:
        probe = train_probe_on_actions(
            spec, shard.frames, shard.actions, shard.lengths, probe_steps
        )
    inverse = train_inverse_dynamics(
        probe.features(shard.frames),
        shard.actions,
        shard.lengths,
        spec.actions,
        training.inverse_steps,
    )
    return EvaluatorModels(probe=probe, inverse=inverse)


def save_evaluator_models(models: EvaluatorModels, path: Path, weakness: str | None = None) -> None:
    """Write evaluator models to a file, whole or not at all.

    Args:
        models: to write.
        path: of the file.
        weakness: in what they err on real episodes, if they do.
    """
    tensors = {
        f"{prefix}{name}": tensor.contiguous()
        for prefix, module in _modules(models)
        for name, tensor in module.state_dict().items()
    }
    metadata = None if weakness is None else {WEAKNESS: weakness}
    with atomic_write(path) as part:
        save_file(tensors, part, metadata)


def weakness_in_training(path: Path) -> str | None:
    """Return in what the models of a file erred when they were trained; None if in nothing."""
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    return metadata.get(WEAKNESS)


def load_evaluator_models(path: Path, spec: WorldSpec) -> EvaluatorModels | None:
    """Return evaluator models from a file; None if it is missing, damaged or of another world."""
    probe = StateProbe(spec).eval()
    inverse = InverseDynamics(probe.num_features, spec.actions).eval()
    models = EvaluatorModels(probe=probe, inverse=inverse)
    # files of earlier versions leave out what follows from the numbers' names
    by_names = {"probe.scale": probe.scale, "probe.offset": probe.offset}
    try:
        tensors = by_names | load_file(path)
        for prefix, module in _modules(models):
            module.load_state_dict(_with_prefix(tensors, prefix))
    except (OSError, SafetensorError, RuntimeError):
        return None
    return models


def weakness_of(
    models: EvaluatorModels, real: Shard, spec: WorldSpec, adapter: EvaluationAdapter
) -> str | None:
    """Return in what evaluator models err on real episodes; None if they read them well."""
    if adapter.actor is not None:
        states, _ = models.probe.read(real.frames)
        spread = np.ones(len(spec.state_names))
        errors = state_errors(states, real.states, spec, adapter, spread)
        assert errors.actor_px is not None
        error = float(np.median(errors.actor_px))
        bound = MAX_ACTOR_ERROR * max(spec.frame_size)
        if not error <= bound:  # NaN is weak, too
            return f"the probe misses the actor by {error:.1f} px (at most {bound:.1f})"
    skill = _skill(models, real, spec)
    if not skill >= MIN_SKILL:
        return (
            f"the inverse-dynamics model reads actions with a skill of {skill:.2f}"
            f" (at least {MIN_SKILL:g}; 0 is chance)"
        )
    return None


def _skill(models: EvaluatorModels, real: Shard, spec: WorldSpec) -> float:
    """Return how well actions are read off real frames: 0 as by chance, 1 without mistakes."""
    steps = real.actions.shape[1]
    is_real = np.arange(1, steps) < real.lengths[:, None]
    read = models.read_actions(real.frames)[is_real]
    actions = real.actions[:, 1:][is_real]
    if not isinstance(spec.actions, SpokenBox):
        chance = 1 / len(spec.actions)
        return float(((read == actions).mean() - chance) / (1 - chance))
    true = action_numbers(spec.actions, actions)
    rs = [correlation(np.stack(pair, -1)) for pair in zip(read.T, true.T, strict=True)]
    return max((r for r in rs if np.isfinite(r)), default=np.nan)


def _modules(models: EvaluatorModels) -> Iterator[tuple[str, nn.Module]]:
    yield "probe.", models.probe
    yield "inverse.", models.inverse


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
