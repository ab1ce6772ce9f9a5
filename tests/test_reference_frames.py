"""The shipped worlds draw the frames that they drew when the references were recorded.

On a machine whose torch computes the same last bits as the one that recorded them, every frame must
be bit-equal. On any other, frames may differ by what rounding does. ``REFERENCE=record pytest
tests/test_reference_frames.py`` records anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from support.env_ids import NEEDS, TESTED_IDS

from streamdit_gym.cli import main

FOLDER = Path(__file__).parent / "reference"
DIGESTS = FOLDER / "digests.json"
SEEDS = range(4)
STEPS = 32
SHOWN = (0, 8, 32)  # frames that are kept as pictures
TOLERANCE = {
    0: 1.0,
    8: 2.0,
    32: 6.0,
}  # mean absolute difference on other machines, in levels of 256
CASES = [
    (name, partition)
    for name in TESTED_IDS
    if not any(name == f"StreamDiT/{world}-Real-v0" for world in NEEDS)  # others' pictures
    for partition in (("reactive",) if "-Real-" in name else ("reactive", "pipelined"))
]


def machine_digest() -> str:
    """Return a digest of what torch computes here,
    over the operations and sizes that the worlds use.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(16, 80, 256, generator=generator)
    weight = torch.randn(768, 256, generator=generator)
    image = torch.randn(16, 64, 32, 32, generator=generator)
    kernel = torch.randn(64, 64, 3, 3, generator=generator)
    parts = tokens.reshape(16, 80, 4, 64).transpose(1, 2)
    results = [
        tokens[:1] @ weight.T,
        tokens @ weight.T,
        torch.nn.functional.scaled_dot_product_attention(parts, parts, parts),
        torch.nn.functional.conv2d(image, kernel, padding=1),
        torch.nn.functional.conv2d(image[:1], kernel, padding=1),
        torch.nn.functional.group_norm(image, 8),
        torch.nn.functional.layer_norm(tokens, (256,)),
        torch.nn.functional.silu(tokens).exp(),
    ]
    digest = hashlib.sha256()
    for result in results:
        digest.update(result.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def roll_out(name: str, partition: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame and those of 32 random actions, and the rewards;
    a finished episode is followed by another.
    """
    settings = {} if "-Real-" in name else {"partition": partition}
    env = gym.make(name, **settings)
    frames = [env.reset(seed=seed)[0]]
    rewards = np.zeros(STEPS)
    is_over = False
    for step, action in enumerate(random_actions(env.action_space, seed)):
        if is_over:
            frames.append(env.reset()[0])
            is_over = False
            continue
        frame, rewards[step], terminated, truncated, _ = env.step(action)
        frames.append(frame)
        is_over = terminated or truncated
    env.close()
    return np.stack(frames), rewards


def random_actions(space: gym.Space, seed: int) -> np.ndarray:
    """Return an action for every step."""
    rng = np.random.default_rng(seed)
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=STEPS)
    return rng.uniform(space.low, space.high, (STEPS, *space.shape)).astype(space.dtype)


def digest_of(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def sheet_path(name: str, partition: str) -> Path:
    return FOLDER / f"{name.removeprefix('StreamDiT/')}-{partition}.png"


def write_sheet(path: Path, rollouts: list[np.ndarray]) -> None:
    rows = [np.concatenate(list(frames[list(SHOWN)]), axis=1) for frames in rollouts]
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])


def read_sheet(path: Path, seed: int, column: int) -> np.ndarray:
    sheet = cv2.imread(str(path))[..., ::-1]
    height = sheet.shape[0] // len(SEEDS)
    width = sheet.shape[1] // len(SHOWN)
    rows = sheet[seed * height : (seed + 1) * height]
    return rows[:, column * width : (column + 1) * width]


def generate(folder: Path) -> Iterator[tuple[str, str]]:
    """Make a small data set and yield its arrays' names and digests."""
    options = f"--episodes 4 --steps 16 --set batch=4 seed=3 --policy scripted:0.3 --out {folder}"
    command = ["generate", "PushT", *options.split(), "--format", "mkv", "--device", "cpu"]
    assert main(command) == 0
    for path in sorted(folder.rglob("*.npz")):
        with np.load(path) as arrays:
            for key in sorted(arrays.files):
                yield key, digest_of(arrays[key])
    for path in sorted(folder.rglob("*.mkv")):
        video = cv2.VideoCapture(str(path))
        frames = []
        while (frame := video.read()[1]) is not None:
            frames.append(frame)
        yield "frames", digest_of(np.stack(frames))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "partition"), CASES)
def test_frames_are_those_of_the_reference(name: str, partition: str) -> None:
    rollouts = []
    digests = []
    for seed in SEEDS:
        frames, rewards = roll_out(name, partition, seed)
        rollouts.append(frames)
        digests.append([digest_of(frames), digest_of(rewards)])
    path = sheet_path(name, partition)
    recorded = json.loads(DIGESTS.read_text()) if DIGESTS.is_file() else {}
    if os.environ.get("REFERENCE") == "record":
        write_sheet(path, rollouts)
        recorded[path.stem] = {"machine": machine_digest(), "episodes": digests}
        DIGESTS.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        return
    if recorded[path.stem]["machine"] == machine_digest():
        assert digests == recorded[path.stem]["episodes"]
    for seed, frames in zip(SEEDS, rollouts, strict=True):
        for column, step in enumerate(SHOWN):
            difference = frames[step].astype(float) - read_sheet(path, seed, column)
            assert np.abs(difference).mean() < TOLERANCE[step], (seed, step)


@pytest.mark.slow
def test_a_generated_data_set_is_that_of_the_reference(tmp_path: Path) -> None:
    digests = dict(generate(tmp_path / "data"))
    recorded = json.loads(DIGESTS.read_text()) if DIGESTS.is_file() else {}
    if os.environ.get("REFERENCE") == "record":
        recorded["generated"] = {"machine": machine_digest(), "arrays": digests}
        DIGESTS.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
        return
    generated = recorded["generated"]
    assert digests["prompts"] == generated["arrays"]["prompts"]
    if generated["machine"] == machine_digest():
        assert digests == generated["arrays"]
