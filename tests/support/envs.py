"""Environments for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from conftest import make_tiny_world
from gymnasium.vector import VectorEnv

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import VectorSelfConsistencyPenalty

HANGUL = ("각" * 33 + " ") * 5 + "각" * 30  # 200 characters, of which the encoder makes 587 tokens

ENV_KINDS: dict[str, dict[str, Any]] = {
    "batched": {},
    "row by row": {"backend": {"deterministic": True}},
    "latents": {"observation": "latent"},
    "pipelined": {"partition": "pipelined"},
    "torch": {"backend": {"output": "torch"}},
}


def penalised_env(num_envs: int, penalty: float = 1.0, **settings: Any) -> VectorEnv[Any, Any, Any]:
    """Return a batch whose rewards carry the self-consistency penalty."""
    return VectorSelfConsistencyPenalty(StreamDiTVectorEnv(num_envs, **settings), penalty)


def started_envs(bundle: str) -> StreamDiTVectorEnv:
    """Return two environments that have been reset."""
    env = StreamDiTVectorEnv(2, world=bundle)
    env.reset(seed=0)
    return env


def assert_nothing_changed(env: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv) -> None:
    """Check that two environments go on alike, over a reset without a seed, too."""
    for actions in ([1, 2], [3, 4]):
        assert (env.step(np.array(actions))[0] == untouched.step(np.array(actions))[0]).all()
    assert (env.reset()[0] == untouched.reset()[0]).all()


def endless_bundle(folder: Path) -> str:
    """Save a tiny world in which no task is ever done, and return its folder."""
    world = make_tiny_world()
    success_logits = world.readout.out.bias.data[len(world.spec.state_names) :][2:]
    success_logits.fill_(-30)
    world.save_pretrained(folder)
    return str(folder)


def plan(num_envs: int, steps: int, seed: int = 0) -> np.ndarray:
    """Return random actions (steps, num_envs)."""
    return np.random.default_rng(seed).integers(9, size=(steps, num_envs))


def random_actions(env: Any, steps: int, seed: int = 0) -> np.ndarray:
    """Return random actions for a batch (steps, num_envs), each of a box's shape in its world."""
    space = env.unwrapped.single_action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return plan(env.num_envs, steps, seed) % space.n
    rng = np.random.default_rng(seed)
    shape = (steps, env.num_envs, *space.shape)
    return rng.uniform(space.low, space.high, shape).astype(space.dtype)


def idle_actions(env: Any) -> np.ndarray:
    """Return the idle action for every environment of a batch."""
    idle = env.unwrapped.world_spec.actions.idle
    return np.stack([idle] * env.num_envs)


def frames_of(env: Any, steps: int, seed: int = 3, plan: np.ndarray | None = None) -> np.ndarray:
    """Return the frames of a reset and of some steps, with random actions or those of a plan."""
    first, _ = env.reset(seed=seed)
    actions = random_actions(env, steps) if plan is None else plan
    return np.stack([first, *(env.step(action)[0] for action in actions)])


def sessions_of(env: StreamDiTVectorEnv) -> list[Any]:
    """Return a batch's sessions: one of all rows, or one for each."""
    backend: Any = env._backend
    if hasattr(backend, "backends"):
        return [row._session for row in backend.backends]
    return [backend._session]


def spoil(env: StreamDiTVectorEnv, row: int, rng: np.random.Generator) -> None:
    """Put a NaN somewhere into what a row's next frame is made of."""
    sessions = sessions_of(env)
    alone = len(sessions) > 1
    session = sessions[row] if alone else sessions[0]
    parts = [
        session.references[:, 1:],
        session.buffer.latents,
        *session.cache.tensors(),
    ]  # the oldest is not used again
    parts = [part for part in parts if part.numel()]
    numbers = parts[int(rng.integers(len(parts)))][0 if alone else row]
    numbers[tuple(int(rng.integers(size)) for size in numbers.shape)] = torch.nan


def env_in_episode(**settings: Any) -> StreamDiTVectorEnv:
    """Return environments in the middle of an episode."""
    env = StreamDiTVectorEnv(2, **{"autoreset_mode": "SAME_STEP", **settings})
    env.reset(seed=0)
    for actions in random_actions(env, 3):
        env.step(actions)
    return env


def steps_to_truncation(env: gymnasium.Env[Any, Any]) -> int:
    """Return after how many steps an episode is truncated."""
    for step in range(1, 50):
        if env.step(0)[3]:
            return step
    raise AssertionError("never truncated")
