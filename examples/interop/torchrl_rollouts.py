"""TorchRL's own check of an environment, its collector, and a batch of worlds in mode DISABLED,
which it resets itself.

It runs where TorchRL is installed, see docs/interop.md.
"""

from __future__ import annotations

from importlib.metadata import version

import gymnasium
import torch
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, GymWrapper
from torchrl.envs.utils import check_env_specs

ID = "streamdit_gym:StreamDiT/PushT-v0"
HORIZON = 4


def check_single() -> None:
    """Check one environment and collect from it over the ends of episodes."""
    env = GymEnv(ID, horizon=HORIZON)
    check_env_specs(env)
    collector = Collector(env, None, frames_per_batch=16, total_frames=32)
    batches = list(collector)
    assert [batch.shape for batch in batches] == [torch.Size([16])] * 2
    assert batches[0]["pixels" if "pixels" in batches[0] else "observation"].shape == (
        16,
        64,
        64,
        3,
    )
    collector.shutdown()


def check_batch() -> None:
    """Roll two rows out over the ends of their episodes."""
    envs = gymnasium.make_vec(ID, num_envs=2, horizon=HORIZON, autoreset_mode="DISABLED")
    rollout = GymWrapper(envs).rollout(2 * HORIZON + 2, break_when_any_done=False)
    assert rollout.shape == (2, 2 * HORIZON + 2)
    truncated = rollout["next", "truncated"].squeeze(-1)
    terminated = rollout["next", "terminated"].squeeze(-1)
    for row in range(2):
        length = 0
        for step in range(2 * HORIZON + 2):
            length += 1
            assert truncated[row, step] == (length == HORIZON and not terminated[row, step])
            if truncated[row, step] or terminated[row, step]:
                length = 0


def main() -> None:
    """Check both."""
    check_single()
    check_batch()
    settings = "make; make_vec with autoreset_mode='DISABLED'"
    print(f"TorchRL {version('torchrl')} | {settings}; rollouts, collector")


if __name__ == "__main__":
    main()
