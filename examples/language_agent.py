"""An agent made of words: it reads a sentence about the scene and answers with an action prompt.

Usage: python examples/language_agent.py [--episodes 8] [--command "COMMAND"]

By default a few rules answer. With --command, COMMAND is run for every step with the scene on its
standard input, and the last line that it prints is the action: a language model's command line
fits. (Prompts that the world does not carry need the extra `text`.)
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Callable

import gymnasium
import numpy as np
import torch

import streamdit_gym
from streamdit_gym import World

CENTER_TO_MIDDLE = 5.6  # pixels from the T's origin to the middle of its area


@torch.no_grad()
def describe_scene(world: World, latent: np.ndarray) -> str:
    """Return a sentence about what the world's readout reads from a latent frame."""
    states, _ = world.readout(torch.from_numpy(latent)[None, None])
    x, y, block_x, block_y, cosine, sine = states[0, 0].tolist()
    right = block_x - CENTER_TO_MIDDLE * sine - x
    down = block_y + CENTER_TO_MIDDLE * cosine - y
    horizontal = "east" if right > 0 else "west"
    vertical = "south" if down > 0 else "north"
    return (
        f"The T lies {abs(right):.0f} pixels {horizontal} and {abs(down):.0f} pixels {vertical} "
        "of the blue dot. Touch it. Where to?"
    )


def answer_by_rules(scene: str) -> str:
    """Answer a scene with a move towards the T."""
    distances = re.findall(r"(\d+) pixels (\w+)", scene)
    (horizontal, east_or_west), (vertical, north_or_south) = distances
    largest = max(int(horizontal), int(vertical), 1)
    direction = ""
    if int(vertical) > 0.4 * largest:
        direction += north_or_south
    if int(horizontal) > 0.4 * largest:
        direction += east_or_west
    return f"move {direction}"


def answer_by_command(command: str) -> Callable[[str], str]:
    """Return a policy that runs a command for every scene."""
    words = shlex.split(command)

    def answer(scene: str) -> str:
        finished = subprocess.run(words, input=scene, capture_output=True, text=True, check=True)
        printed = finished.stdout.strip()
        last_line = printed.splitlines()[-1]
        return last_line.strip(" .\"'")

    return answer


def run_episode(env: gymnasium.Env, world: World, policy: Callable[[str], str], seed: int) -> float:
    """Run one episode, print how it ended, and return its return."""
    latent, _ = env.reset(seed=seed)
    episode_return = 0.0
    terminated = truncated = False
    while not terminated and not truncated:
        scene = describe_scene(world, latent)
        prompt = policy(scene)
        latent, reward, terminated, truncated, _ = env.step(prompt)
        episode_return += reward
    outcome = ", touched" if terminated else ""
    print(f"episode {seed}: return {episode_return:.2f}{outcome}")
    print(f"  last scene: {scene}   last prompt: {prompt}")
    return episode_return


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--command", help="a command that answers a scene on its standard input")
    arguments = parser.parse_args()
    policy = answer_by_command(arguments.command) if arguments.command else answer_by_rules
    streamdit_gym.register()
    env = gymnasium.make("StreamDiT/PushT-Reach-v0", actions="text", observation="latent")
    world = World.from_pretrained("PushT")
    returns = [run_episode(env, world, policy, seed) for seed in range(arguments.episodes)]
    print(f"mean return {sum(returns) / len(returns):.2f}")


if __name__ == "__main__":
    main()
