"""Environments that hand out latents: the same world, seen before it is decoded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.envs.wrappers import VectorPendingActions
from streamdit_gym.errors import ShapeError, UnknownNameError

ACTIONS = np.random.default_rng(0).integers(9, size=(8, 3))


@pytest.mark.parametrize(
    "settings",
    [{}, {"backend": {"deterministic": True}}, {"real": True}],
    ids=lambda s: next(iter(s), "generated"),
)
def test_latents_are_the_frames_of_the_same_episode(settings: dict) -> None:
    codec = shared_world("PushT", "cpu").codec
    settings = {"task": "reach", "horizon": 5, "autoreset_mode": "SAME_STEP", **settings}
    seen, shown = (
        StreamDiTVectorEnv(3, observation=kind, **settings) for kind in ("latent", "frame")
    )
    latents, frames = seen.reset(seed=0)[0], shown.reset(seed=0)[0]
    for actions in (*ACTIONS, None):
        assert latents.dtype == np.float32
        assert seen.observation_space.contains(latents)
        with torch.no_grad():
            if "real" in settings:
                torch.testing.assert_close(
                    torch.from_numpy(latents),
                    codec.encode(torch.from_numpy(frames)[:, None])[:, 0].float(),
                )
            else:
                decoded = codec.decode(torch.from_numpy(latents)[:, None])[:, 0].numpy()
                assert np.abs(decoded.astype(int) - frames).max() <= 1
                assert (np.stack(seen.render()) == decoded).all()
        if actions is None:
            break
        latents, rewards, *ends, info = seen.step(actions)
        frames, expected, *expected_ends, expected_info = shown.step(actions)
        assert rewards == pytest.approx(expected, abs=1e-5)
        assert (np.array(ends) == np.array(expected_ends)).all()
        for row in np.flatnonzero(info.get("_final_obs", np.zeros(3, bool))):
            assert info["final_obs"][row].shape == (8, 8, 8)
            assert expected_info["final_obs"][row].shape == (64, 64, 3)


def test_latents_stay_tensors_and_come_back_with_a_saved_state() -> None:
    env = StreamDiTVectorEnv(2, observation="latent", backend={"output": "torch"})
    env.reset(seed=0)
    saved = env.save_state()
    first = [env.step(np.array([1, 2]))[0] for _ in range(3)]
    assert isinstance(first[0], torch.Tensor)
    env.restore_state(saved)
    again = [env.step(np.array([1, 2]))[0] for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    frames = StreamDiTVectorEnv(2)
    frames.reset(seed=0)
    with pytest.raises(ShapeError, match="other environments"):
        frames.restore_state(saved)


def test_pending_actions_stand_beside_latents() -> None:
    base = StreamDiTVectorEnv(2, observation="latent", partition="pipelined")
    env = VectorPendingActions(base)
    observation = env.reset(seed=0)[0]
    assert set(observation) == {"latent", "pending"}
    assert env.observation_space.contains(observation)


def test_another_kind_of_observation_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'latent'"):
        StreamDiTVectorEnv(1, observation="latents")  # type: ignore[arg-type]
