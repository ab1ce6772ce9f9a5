"""An agent made of words: it is told in a sentence what is to be seen, and answers with a sentence,
which is the action.

Usage: python examples/language_agent.py [--episodes 8] [--speaker "COMMAND"]

Without --speaker a few rules answer. With it, COMMAND is run for every step with the scene on its
standard input, and the last line that it prints is said: a language model's command line fits.
(Phrases that the world does not carry need the extra `text`.)
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


@torch.no_grad()
def scene(world: World, latent: np.ndarray) -> str:
    """Say in words what the world's heads read off a latent frame."""
    x, y, block_x, block_y, cosine, sine = world.readout(torch.from_numpy(latent)[None, None])[0][
        0, 0
    ].tolist()
    right, down = block_x - 5.6 * sine - x, block_y + 5.6 * cosine - y  # to the T's middle
    beside, above = ("east" if right > 0 else "west"), ("south" if down > 0 else "north")
    return f"The T lies {abs(right):.0f} pixels {beside} and {abs(down):.0f} pixels {above} of the blue dot. Touch it. Where to?"


def rules(said: str) -> str:
    """Answer a scene with the direction in which the T lies."""
    found = re.findall(r"(\d+) pixels (\w+)", said)
    (east, beside), (north, above) = found
    most = max(int(east), int(north), 1)
    way = (above if int(north) > 0.4 * most else "") + (beside if int(east) > 0.4 * most else "")
    return f"move {way}"


def command(line: str) -> Callable[[str], str]:
    """Return a speaker that runs a command for every scene."""

    def speak(said: str) -> str:
        answer = subprocess.run(
            shlex.split(line), input=said, capture_output=True, text=True, check=True
        ).stdout
        return answer.strip().splitlines()[-1].strip(" .\"'")

    return speak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=8)
    parser.add_argument("--speaker", help="a command that answers a scene on its standard input")
    given = parser.parse_args()
    speak = command(given.speaker) if given.speaker else rules
    streamdit_gym.register()
    env = gymnasium.make("StreamDiT/PushT-Reach-v0", actions="text", observation="latent")
    world = World.from_pretrained("PushT")
    returns = []
    for episode in range(given.episodes):
        latent, _ = env.reset(seed=episode)
        total, ended = 0.0, False
        while not ended:
            said = scene(world, latent)
            answer = speak(said)
            latent, reward, terminated, truncated, _ = env.step(answer)
            total, ended = total + reward, terminated or truncated
        returns.append(total)
        print(
            f"episode {episode}: return {total:.2f}{', touched' if terminated else ''}   last heard: {said}   last said: {answer}"
        )
    print(f"mean return {sum(returns) / len(returns):.2f}")


if __name__ == "__main__":
    main()
