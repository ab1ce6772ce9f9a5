"""Episodes that begin with the last frame of a drawn clip: ``reset(options={"init": "drawn"})``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_tiny_world, wake
from support.envs import ENV_KINDS, assert_nothing_changed, plan
from support.pushed_dot import make_dot_world

from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.clip import CLIP_FRAMES, ClipSampler
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World

DRAWN = {"init": "drawn"}
ACTIONS = plan(3, 2)


def numbers(observation: Any) -> np.ndarray:
    return np.asarray(observation).astype(np.float32)


def roll_out(env: StreamDiTVectorEnv, seed: Any, columns: slice = slice(None)) -> np.ndarray:
    """Return what is observed after a drawn start, and after two steps."""
    first, _ = env.reset(seed=seed, options=DRAWN)
    steps = [env.step(actions[columns])[0] for actions in ACTIONS]
    return np.stack([numbers(observation) for observation in (first, *steps)])


@pytest.mark.parametrize("kind", ENV_KINDS)
def test_a_seed_says_everything_about_a_drawn_start(kind: str, tiny_bundle: str) -> None:
    settings = ENV_KINDS[kind]
    together = roll_out(StreamDiTVectorEnv(3, world=tiny_bundle, **settings), 5)
    again = roll_out(StreamDiTVectorEnv(3, world=tiny_bundle, **settings), [5, 6, 7])
    assert (together == again).all()
    assert not (together[:, 0] == together[:, 1]).all(), "every row has noise of its own"
    alone = roll_out(StreamDiTVectorEnv(1, world=tiny_bundle, **settings), 6, slice(1, 2))
    is_latent = settings.get("observation") == "latent"
    np.testing.assert_allclose(alone[:, 0], together[:, 1], atol=1e-3 if is_latent else 1)
    if kind == "row by row":
        assert (alone[:, 0] == together[:, 1]).all()


def test_a_single_environment_is_a_batch_of_one(tiny_bundle: str) -> None:
    single = StreamDiTEnv(world=tiny_bundle)
    batch = StreamDiTVectorEnv(1, world=tiny_bundle)
    first, info = single.reset(seed=3, options=DRAWN)
    assert (first == batch.reset(seed=3, options=DRAWN)[0][0]).all()
    assert info.keys() == single.reset(seed=3)[1].keys()


def test_a_stream_goes_on_from_the_clip_with_new_noise(tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(2, world=tiny_bundle, observation="latent")
    observed, _ = env.reset(seed=[4, 5], options=DRAWN)
    world = World.from_pretrained(tiny_bundle)
    engine = Engine(world.model, world.prompts, Partition(references=4), idle=world.idle_prompt)
    noise = Noise.of([np.random.default_rng(4), np.random.default_rng(5)])
    prompts = engine.idle_prompts(2, CLIP_FRAMES)
    clips = ClipSampler(engine.sampler).draw(prompts, noise)
    session: Any = env._backend._session  # type: ignore[attr-defined]
    assert torch.equal(session.references, clips[:, -5:])
    assert torch.equal(session.reference_prompts, prompts[:, -5:])
    assert torch.equal(session.noise.drawn, noise.drawn)
    assert (noise.drawn > 0).all(), "the clip's own noise is not drawn again"
    np.testing.assert_array_equal(observed, clips[:, -1].numpy())


def test_the_next_episode_begins_with_a_real_frame_again(tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(2, world=tiny_bundle, horizon=1, observation="latent")
    bank = World.from_pretrained(tiny_bundle).starts.latents.numpy()
    drawn, _ = env.reset(seed=0, options=DRAWN)
    env.step(ACTIONS[0][:2])
    later, *_ = env.step(ACTIONS[1][:2])
    assert [(row == bank).all((1, 2, 3)).any() for row in drawn] == [False, False]
    assert [(row == bank).all((1, 2, 3)).any() for row in later] == [True, True]


def test_rows_outside_a_mask_go_on(tiny_bundle: str) -> None:
    env, plain = (StreamDiTVectorEnv(2, world=tiny_bundle) for _ in range(2))
    for each in (env, plain):
        each.reset(seed=0)
    mask = np.array([False, True])
    observed, _ = env.reset(seed=[None, 9], options={**DRAWN, "reset_mask": mask})
    alone, _ = StreamDiTVectorEnv(1, world=tiny_bundle).reset(seed=9, options=DRAWN)
    np.testing.assert_allclose(numbers(observed[1]), numbers(alone[0]), atol=1)
    for actions in ACTIONS[:, :2]:
        assert (env.step(actions)[0][0] == plain.step(actions)[0][0]).all()


def test_a_saved_state_comes_back(tiny_bundle: str) -> None:
    env, other = (StreamDiTVectorEnv(2, world=tiny_bundle) for _ in range(2))
    env.reset(seed=0, options=DRAWN)
    state = env.save_state()
    other.reset(seed=77)
    other.restore_state(state)
    for actions in ACTIONS[:, :2]:
        assert (env.step(actions)[0] == other.step(actions)[0]).all()


def test_common_noise_gives_every_row_the_same_start(tiny_bundle: str) -> None:
    backend = {"common_noise": True, "deterministic": True}
    env = StreamDiTVectorEnv(2, world=tiny_bundle, backend=backend)
    observed, _ = env.reset(seed=0, options=DRAWN)
    assert (observed[0] == observed[1]).all()


def test_clips_are_drawn_by_the_worlds_own_transformer(tmp_path: Path) -> None:
    world = make_tiny_world()
    pipelined_model = StreamDiT(world.model.config)
    wake(pipelined_model)
    replace(world, pipelined_model=pipelined_model.eval()).save_pretrained(tmp_path / "both")
    world.save_pretrained(tmp_path / "one")
    starts = []
    for name in ("both", "one"):
        settings: Any = {"world": str(tmp_path / name), "partition": "pipelined"}
        starts.append(StreamDiTVectorEnv(1, **settings).reset(seed=0, options=DRAWN)[0])
    assert (starts[0] == starts[1]).all()


def test_worlds_with_continuous_actions_draw_starts(tmp_path: Path) -> None:
    make_dot_world().save_pretrained(tmp_path / "dot")
    env = StreamDiTVectorEnv(2, world=str(tmp_path / "dot"))
    observed, _ = env.reset(seed=0, options=DRAWN)
    assert (observed == env.reset(seed=0, options=DRAWN)[0]).all()
    assert not (observed == env.reset(seed=0)[0]).all()


@pytest.mark.parametrize("init", ["Drawn", "drawn ", "", b"drawn", ["drawn"], 5, True], ids=repr)
def test_other_words_are_refused_and_change_nothing(
    init: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(ShapeError, match="or 'drawn'"):
        envs.reset(seed=3, options={"init": init})
    assert_nothing_changed(envs, untouched)


def test_a_reference_simulator_draws_nothing() -> None:
    env = StreamDiTVectorEnv(1, world="PushT", real=True)
    with pytest.raises(ArgumentError, match="drawn clips"):
        env.reset(options=DRAWN)
