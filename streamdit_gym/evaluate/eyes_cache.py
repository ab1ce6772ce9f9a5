"""The judge's eyes on disk: they know nothing of the world that is judged, so they are trained once per simulator.

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

import torch

from streamdit_gym.data import recorder
from streamdit_gym.data.storage.storage import replaced
from streamdit_gym.evaluate import judge, probe
from streamdit_gym.evaluate.candidate import Twin
from streamdit_gym.evaluate.judge import JudgeConfig, train_eyes
from streamdit_gym.evaluate.measures import Eyes
from streamdit_gym.evaluate.probe import InverseDynamics, Probe
from streamdit_gym.vocabulary import WorldSpec

PACKAGES = ("torch", "numpy", "opencv-python", "gym-pusht", "pymunk", "pygame")  # what real frames and the training hang on


def remembered_eyes(spec: WorldSpec, twin: Twin, config: JudgeConfig, folder: Path) -> Eyes:
    """Return the judge's eyes: those in the folder, or new ones, which are then kept there.

    Args:
        spec: the world.
        twin: its simulator; a class, whose code and the judge's make the file's name.
        config: how much they are trained.
        folder: where they are kept.
    """
    path = folder / f"eyes-{spec.name}-{_key(spec, twin, config)[:16]}.pt"
    seen = Probe(spec).eval()
    named = InverseDynamics(len(spec.state_names) + 2 * seen.points, len(spec.menu)).eval()
    try:
        saved = torch.load(path, weights_only=True)
        seen.load_state_dict(saved["probe"])
        named.load_state_dict(saved["inverse"])
        return Eyes(probe=seen, inverse=named)
    except Exception:  # not there, or cut
        made = train_eyes(spec, twin, config)
        part = replaced(path)
        torch.save({"probe": made.probe.state_dict(), "inverse": made.inverse.state_dict()}, part)
        part.replace(path)
    return made


def _key(spec: WorldSpec, twin: Twin, config: JudgeConfig) -> str:
    made = hashlib.sha256()
    settings = [getattr(config, name) for name in ("horizons", "training_episodes", "probe_steps", "inverse_steps", "seed")]
    made.update(json.dumps([dataclasses.asdict(spec), settings, twin.starts], sort_keys=True).encode())
    simulator = {kind.__module__ for kind in inspect.getmro(twin.make) if kind is not object}  # type: ignore[arg-type]
    for module in (judge, probe, recorder, *(sys.modules[name] for name in sorted(simulator))):
        made.update(inspect.getsource(module).encode())
    for package in PACKAGES:
        try:
            made.update(f"{package} {version(package)}".encode())
        except PackageNotFoundError:
            continue
    return made.hexdigest()
