"""What must hold on a CUDA device; run by `make gpu-test`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_tiny_world
from support.training import take_steps, trainer_of

from streamdit_gym.envs.outputs import to_host
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.presets import PARTITIONS
from streamdit_gym.recipes.stage_settings import DynamicsTraining
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.train.stages.dynamics_stage import compile_blocks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def rollout(
    device: str,
    dtype: str = "float32",
    envs: int = 8,
    seed: int = 0,
    staggered: bool = False,
    compile: bool = False,
    **settings: object,
) -> np.ndarray:
    backend = {"dtype": dtype, "compile": compile}
    env = StreamDiTVectorEnv(envs, device=device, backend=backend, **settings)
    frames = [env.reset(seed=0)[0]]
    if staggered:
        env._episodes.steps[:] = np.arange(envs)  # every row ends in a step of its own
    rng = np.random.default_rng(seed)
    frames += [env.step(rng.integers(9, size=envs))[0] for _ in range(16)]
    return np.stack(frames).astype(int)


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the mean difference, in grey levels, of the pixels that change:
    most of a frame never does.
    """
    changing = np.abs(expected - expected[:1]).max((0, -1)) > 8
    return float(np.abs(found - expected)[:, changing].mean())


def test_the_gpu_makes_the_cpus_frames() -> None:
    expected = rollout("cpu")
    assert apart(rollout("cuda"), expected) < 1.0
    assert apart(rollout("cuda", seed=1), expected) > 10.0, "other actions make other frames"


def test_rows_begun_anew_go_on_as_on_the_cpu() -> None:
    """On the GPU they are taken from streams begun in advance."""
    settings = {"staggered": True, "horizon": 9}
    assert apart(rollout("cuda", **settings), rollout("cpu", **settings)) < 1.0


def test_an_array_handed_out_is_not_written_to_again() -> None:
    frames = torch.ones(64, 64, dtype=torch.uint8, device="cuda")
    kept, others = to_host(frames)[0], [to_host(frames + i) for i in range(1, 5)]
    assert (kept == 1).all()
    assert [int(other[0, 0]) for other in others] == [2, 3, 4, 5]


def test_the_same_seed_gives_the_same_frames_bit_for_bit() -> None:
    assert (rollout("cuda") == rollout("cuda")).all()
    assert (rollout("cuda", "bfloat16") == rollout("cuda", "bfloat16")).all()


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1.0), ("bfloat16", 6.0)])
def test_compiled_environments_make_the_same_frames(dtype: str, most: float) -> None:
    assert apart(rollout("cuda", dtype, compile=True), rollout("cuda", dtype)) < most


def test_a_state_saved_on_the_gpu_is_gone_on_from_on_the_cpu() -> None:
    there, here = (StreamDiTVectorEnv(2, device=device) for device in ("cuda", "cpu"))
    there.reset(seed=0)
    here.reset(seed=1)
    actions = np.array([3, 5])
    for _ in range(4):
        there.step(actions)
    assert (here.restore_state(there.save_state()) == there.render()).all()
    expected = np.stack([there.step(actions)[0] for _ in range(4)]).astype(int)
    assert np.abs(np.stack([here.step(actions)[0] for _ in range(4)]) - expected).mean() < 1.0


def test_noise_is_the_same_on_the_gpu() -> None:
    noise = Noise.seeded(range(5))
    torch.testing.assert_close(
        noise.to("cuda").draw((4, 8)).cpu(), noise.draw((4, 8)), atol=1e-5, rtol=1e-5
    )


def test_torch_output_stays_on_the_gpu() -> None:
    env = StreamDiTVectorEnv(4, device="cuda", backend={"output": "torch"})
    env.reset(seed=0)
    observation, reward, terminated, truncated, _ = env.step(
        torch.zeros(4, dtype=torch.long, device="cuda")
    )
    assert all(part.device.type == "cuda" for part in (observation, reward, terminated, truncated))


@pytest.mark.parametrize("partition", PARTITIONS)
def test_rows_of_a_batch_equal_single_streams_on_the_gpu(partition: str) -> None:
    """Two rows with the cache, against the same rows one by one."""
    world = make_tiny_world()
    model, table = world.model.cuda(), world.table.to("cuda", torch.float32)

    def frames(rows: list[int]) -> torch.Tensor:
        engine = Engine(model, table, PARTITIONS[partition])
        session = engine.start(
            torch.ones(len(rows), 1, 8, 8, 8),
            torch.zeros(len(rows), 1, dtype=torch.long),
            Noise.seeded(rows),
        )
        return torch.cat([engine.tick(session, torch.tensor([1, 2])[rows]) for _ in range(4)], 1)

    torch.testing.assert_close(
        frames([0, 1]), torch.cat([frames([0]), frames([1])]), atol=1e-3, rtol=1e-3
    )


@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("is_compiled", [False, True])
def test_training_steps_run_in_bfloat16_and_compiled(is_compiled: bool) -> None:
    trainer = trainer_of(DynamicsTraining(clips=8, clip_frames=4), device="cuda")
    if is_compiled:
        compile_blocks(trainer.model)
    losses = take_steps(trainer, 40, total=40)
    assert np.isfinite(losses).all()
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
