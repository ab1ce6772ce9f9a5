"""Step 16 worlds in one batch: one model, one forward pass.

python examples/step_many_worlds.py [--envs 16] [--steps 100]
"""

import argparse
import time

import gymnasium

import streamdit_gym  # noqa: F401  (registers the ids)

parser = argparse.ArgumentParser()
parser.add_argument("--envs", type=int, default=16)
parser.add_argument("--steps", type=int, default=100)
arguments = parser.parse_args()

# SAME_STEP: an episode's last step already begins the next one, so that no row is computed in vain
envs = gymnasium.make_vec(
    "StreamDiT/PushT-Reach-v0", num_envs=arguments.envs, autoreset_mode="SAME_STEP"
)
observations, infos = envs.reset(seed=0)
begun, ended = time.perf_counter(), 0
for _ in range(arguments.steps):
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    ended += int((terminated | truncated).sum())
spent = time.perf_counter() - begun
print(
    f"observations {observations.shape} {observations.dtype}, last prompts {sorted(set(infos['prompt']))[:3]} ..."
)
print(
    f"{arguments.envs * arguments.steps / spent:.0f} env steps/s, {ended} episodes ended and began anew"
)
