"""The judge's eyes on disk: they know nothing of the world that is judged, so they are trained once
per simulator.

Those of some simulators are shipped, fully trained, so that a quick judge sees as sharply as a
thorough one.

Takes: a spec, its twin, a folder.  Gives: the judge's eyes.  Knows nothing of: candidates.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from streamdit_gym.data import recorder
from streamdit_gym.definition import ReferenceSimulator, WorldSpec
from streamdit_gym.evaluate import judge, probe
from streamdit_gym.evaluate.judge import EvaluationConfig, train_evaluator_models
from streamdit_gym.evaluate.measures import EvaluatorModels
from streamdit_gym.evaluate.probe import InverseDynamics, Probe
from streamdit_gym.train.run import saving

PACKAGES = ("opencv-python", "gym-pusht", "pymunk", "pygame")  # what real frames hang on
SHIPPED = Path(__file__).parent / "eyes"


def evaluator_models(
    spec: WorldSpec, twin: ReferenceSimulator, config: EvaluationConfig, folder: Path
) -> EvaluatorModels:
    """Return the judge's eyes: the best that are shipped or in the folder, or new ones, which are
    then kept there.

    Args:
        spec: the world.
        twin: its simulator; a class.
        config: how much they are trained, if there are none.
        folder: where they are kept.
    """
    seen = Probe(spec).eval()
    named = InverseDynamics(len(spec.state_names) + 2 * seen.points, len(spec.menu)).eval()
    own = folder / evaluator_models_name(spec, twin, config)
    full = evaluator_models_name(spec, twin, EvaluationConfig())
    for path in (SHIPPED / full, folder / full, own):
        try:
            saved = load_file(path)
            for prefix, model in (("probe.", seen), ("inverse.", named)):
                model.load_state_dict(
                    {
                        name.removeprefix(prefix): saved[name]
                        for name in saved
                        if name.startswith(prefix)
                    }
                )
            return EvaluatorModels(probe=seen, inverse=named)
        except Exception:  # not there, or cut
            continue
    print(
        f"training the judge's eyes on {config.training_episodes} real episodes; they are kept in {folder}"
    )
    made = train_evaluator_models(spec, twin, config)
    states = {"probe": made.probe.state_dict(), "inverse": made.inverse.state_dict()}
    with saving(own) as part:
        save_file(
            {
                f"{kind}.{name}": x.contiguous()
                for kind, state in states.items()
                for name, x in state.items()
            },
            part,
        )
    return made


def evaluator_models_name(
    spec: WorldSpec, twin: ReferenceSimulator, config: EvaluationConfig
) -> str:
    """Return the name of the file for eyes: of other code of the simulator,
    the recorder or the eyes, or otherwise trained, another one.
    """
    made = hashlib.sha256()
    settings = [
        getattr(config, name)
        for name in ("horizons", "training_episodes", "probe_steps", "inverse_steps", "seed")
    ]
    made.update(
        json.dumps([dataclasses.asdict(spec), settings, twin.starts], sort_keys=True).encode()
    )
    simulator = {kind.__module__ for kind in inspect.getmro(twin.make) if kind is not object}  # type: ignore[arg-type]
    code: list[Any] = [
        judge.train_evaluator_models,
        recorder.record_shard,
        recorder.play,
        recorder.shard_of,
        probe,
    ]
    for part in (*code, *(sys.modules[name] for name in sorted(simulator))):
        made.update(inspect.getsource(part).encode())
    for package in PACKAGES:
        try:
            made.update(f"{package} {version(package)}".encode())
        except PackageNotFoundError:
            continue
    return f"eyes-{spec.name}-{made.hexdigest()[:16]}.safetensors"
