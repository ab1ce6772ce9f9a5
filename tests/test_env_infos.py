"""Infos have the same keys and types at every reset and step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.wrappers import vector as wrappers
from support.envs import penalised_env

from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.wrappers import SelfConsistencyPenalty

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


def shape_of(info: dict[str, Any]) -> dict[str, Any]:
    """Return an info's keys and types."""
    return {
        key: shape_of(value) if isinstance(value, dict) else type(value)
        for key, value in info.items()
    }


@pytest.mark.parametrize("output", ["numpy", "torch"])
@pytest.mark.parametrize("penalty", [None, 0.0])
@pytest.mark.parametrize("real", [False, True])
def test_a_single_environments_info_never_changes_its_keys_or_types(
    real: bool, penalty: float | None, output: str, tiny_bundle: str
) -> None:
    world = {"real": True} if real else {"world": tiny_bundle}
    env: Any = StreamDiTEnv(horizon=3, backend={"output": output}, **world)
    if penalty is not None:
        env = SelfConsistencyPenalty(env, penalty)
    _, info = env.reset(seed=0)
    expected = {"potential": float, "success": float, "is_success": bool, "world_fault": bool}
    expected |= {} if penalty is None else {"self_consistency_error": float}
    expected |= {} if output == "torch" else {"prompt": str}
    assert shape_of(info) == expected
    for _ in range(3):
        *_, truncated, info = env.step(1)
        assert shape_of(info) == expected
        assert not info["is_success"]
    assert truncated


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_batchs_info_has_a_mask_for_every_key(mode: str, tiny_bundle: str) -> None:
    env = penalised_env(2, 0.0, world=tiny_bundle, horizon=2, autoreset_mode=mode)
    _, first = env.reset(seed=0)
    keys = {"prompt", "potential", "success", "is_success", "world_fault", "self_consistency_error"}
    assert set(first) == keys | {f"_{key}" for key in keys}
    for _ in range(5):
        *_, info = env.step(np.array([1, 1]))
        final = info.pop("final_info", None)
        for key in ("_final_info", "final_obs", "_final_obs"):
            info.pop(key, None)
        assert set(info) == set(first)
        assert final is None or set(final) == set(first)
        for key in keys:
            assert info[key].dtype == first[key].dtype


def test_is_success_is_true_at_the_success_and_nowhere_else() -> None:
    env = StreamDiTVectorEnv(8, real=True, task="reach", autoreset_mode="SAME_STEP")
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    seen = False
    for _ in range(60):
        _, _, terminated, _, info = env.step(rng.integers(9, size=8))
        assert not info["is_success"].any(), "the new episode has not succeeded"
        if "final_info" in info:
            assert (info["final_info"]["is_success"] == terminated).all()
            seen |= bool(terminated.any())
    assert seen


def test_torch_infos_hold_nothing_that_is_no_number(tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(
        2,
        world=tiny_bundle,
        horizon=2,
        autoreset_mode="SAME_STEP",
        backend={"output": "torch"},
    )
    infos = [env.reset(seed=0)[1], *(env.step(torch.tensor([1, 1]))[-1] for _ in range(3))]
    assert any("final_obs" in info for info in infos)

    def values(info: dict[str, Any]) -> list[Any]:
        return [
            leaf
            for value in info.values()
            for leaf in (values(value) if isinstance(value, dict) else [value])
        ]

    for info in infos:
        for value in values(info):
            assert torch.as_tensor(value).shape[0] == 2
    last = next(info for info in infos if "final_obs" in info)
    assert isinstance(last["final_obs"], torch.Tensor)
    assert last["final_obs"].shape == (2, 64, 64, 3)


def test_gymnasium_makes_tensors_of_what_comes_out(tiny_bundle: str) -> None:
    pytest.importorskip("array_api_compat")
    env = StreamDiTVectorEnv(
        2,
        world=tiny_bundle,
        horizon=2,
        autoreset_mode="SAME_STEP",
        backend={"output": "torch"},
    )
    envs = wrappers.NumpyToTorch(env)
    envs.reset(seed=0)
    for _ in range(3):
        *_, info = envs.step(torch.tensor([1, 1]))
        assert isinstance(info["potential"], torch.Tensor)
