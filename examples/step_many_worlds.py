"""Step 16 environments in one batch: one model, one forward pass.

python examples/step_many_worlds.py [--envs 16] [--steps 100]
"""

import argparse
import time

import gymnasium

import streamdit_gym  # noqa: F401  (registers the environments)

parser = argparse.ArgumentParser()
parser.add_argument("--envs", type=int, default=16)
parser.add_argument("--steps", type=int, default=100)
arguments = parser.parse_args()

# SAME_STEP: an episode's last step already starts the next one, so no row is computed in vain
envs = gymnasium.make_vec(
    "StreamDiT/PushT-Reach-v0", num_envs=arguments.envs, autoreset_mode="SAME_STEP"
)
observations, infos = envs.reset(seed=0)
num_ended = 0
started_at = time.perf_counter()
for _ in range(arguments.steps):
    actions = envs.action_space.sample()
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    num_ended += int((terminated | truncated).sum())
elapsed = time.perf_counter() - started_at

steps_per_second = arguments.envs * arguments.steps / elapsed
prompts = sorted(set(infos["prompt"]))
print(f"observations {observations.shape} {observations.dtype}, last prompts {prompts[:3]} ...")
print(f"{steps_per_second:.0f} env steps/s, {num_ended} episodes ended and restarted")
