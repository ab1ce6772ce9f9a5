"""The self-consistency error: how far a second prediction of a frame is from the first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_table, wake
from support.envs import penalised_env

from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.flow import point
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view

ACTIONS = np.random.default_rng(0).integers(9, size=(6, 3))


@pytest.mark.parametrize("cut", ["K4N1c1s1", "K4N4c1s1", "K2N2c2s2"])
def test_the_error_is_that_of_a_second_prediction_and_streams_do_not_change(cut: str) -> None:
    torch.manual_seed(0)
    model = StreamDiT(StreamDiTConfig(width=32, depth=2, heads=2))
    wake(model)
    partition = Partition.parse(cut)
    engine = Engine(model.eval(), make_table([f"phrase {i}" for i in range(6)]), partition)
    session = engine.start(
        torch.randn(2, 2, 8, 8, 8), torch.zeros(2, 2, dtype=torch.long), Noise.seeded((3, 4))
    )
    for row in range(5):
        engine.tick(session, torch.tensor([row, 1]))
    kept = session.state_dict()
    found = engine.self_consistency_error(session)
    assert (found > 1e-3).all()
    assert torch.equal(found, engine.self_consistency_error(session))
    assert all(
        torch.equal(a, b) for a, b in zip(kept["noise"], session.state_dict()["noise"], strict=True)
    )
    k, c = partition.references, partition.chunk_frames
    noise = torch.randn(c, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    for row in range(2):  # the obvious way, row by row
        frames, index = (
            session.references[row : row + 1, -(k + c) :],
            session.reference_prompts[row : row + 1, -(k + c) :],
        )
        times = torch.full((1, c), 0.75)
        at = point(frames[:, k:], noise[None], times)
        view = stream_view(
            frames[:, :k], torch.ones(1, k), at, times, causal=True, chunk_frames=c, limit=4
        )
        with torch.no_grad():
            again, _ = model.predict_clean(view, engine.table.conditioning(index))
        assert (again - frames[:, k:]).square().mean().sqrt().item() == pytest.approx(
            found[row].item(), rel=1e-4
        )


def test_the_penalty_is_subtracted_from_the_reward_and_reported() -> None:
    settings = {"task": "reach", "horizon": 4, "autoreset_mode": "SAME_STEP"}
    plain = StreamDiTVectorEnv(3, **settings)
    told = penalised_env(3, 0.0, **settings)
    fined = penalised_env(3, 2.0, **settings)
    for env in (plain, told, fined):
        _, info = env.reset(seed=0)
        assert ("self_consistency_error" in info) == (env is not plain)
    for actions in ACTIONS:
        (frames, rewards, *_, _), (same, equal, *_, first), (_, less, *_, second) = (
            env.step(actions) for env in (plain, told, fined)
        )
        assert (frames == same).all()
        assert (rewards == equal).all()
        for row in range(3):
            place = (
                first["final_info"] if first.get("_final_info", np.zeros(3, bool))[row] else first
            )
            assert rewards[row] - less[row] == pytest.approx(
                2 * place["self_consistency_error"][row], abs=1e-5
            )
            assert 0 < place["self_consistency_error"][row] < 1
        assert np.array_equal(first["self_consistency_error"], second["self_consistency_error"])


def test_rows_are_independent_and_a_simulator_is_consistent() -> None:
    many, row_by_row = (
        penalised_env(3, 0.0, backend={"deterministic": how}) for how in (False, True)
    )
    for env in (many, row_by_row):
        env.reset(seed=5)
    for actions in ACTIONS:
        found, batched = (
            env.step(actions)[-1]["self_consistency_error"] for env in (many, row_by_row)
        )
        assert found == pytest.approx(batched, abs=1e-4)
    real = penalised_env(2, real=True)
    real.reset(seed=0)
    assert (real.step(np.array([1, 2]))[-1]["self_consistency_error"] == 0).all()
