"""Draw the moving picture of the README: a simulator beside its generated world, the same actions.

python examples/moving_picture.py [--env StreamDiT/PushT] [--steps 60] [--seed 2] [--out pusht.gif]
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
from PIL import Image

import streamdit_gym  # noqa: F401  (registers the environments)
from streamdit_gym.agents.film import panel, side_by_side

HELD_STEPS = 6  # how long an action lasts

parser = argparse.ArgumentParser()
parser.add_argument("--env", default="StreamDiT/PushT", help="id without its version")
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--seed", type=int, default=2)
parser.add_argument("--fps", type=float, default=8.0)
parser.add_argument("--out", type=Path, default=Path("moving_picture.gif"))
arguments = parser.parse_args()

real = gymnasium.make(f"{arguments.env}-Real-v0")
generated = gymnasium.make(f"{arguments.env}-v0")
real.action_space.seed(arguments.seed)
real_frame, _ = real.reset(seed=arguments.seed)
# the generated world sees the simulator's first frame, and nothing of it afterwards
frame, _ = generated.reset(seed=arguments.seed, options={"init": real_frame})

pictures: list[np.ndarray] = []
for step in range(arguments.steps):
    if step % HELD_STEPS == 0:
        action = real.action_space.sample()
    real_frame, _, real_terminated, _, _ = real.step(action)
    frame, _, terminated, _, infos = generated.step(action)
    panels = [
        panel(real_frame, "simulator", infos["prompt"]),
        panel(frame, "generated", infos["prompt"]),
    ]
    pictures.append(side_by_side(panels))
    if real_terminated or terminated:
        break
real.close()
generated.close()

first, *others = [Image.fromarray(picture).quantize(64) for picture in pictures]
duration = round(1000 / arguments.fps)
first.save(arguments.out, save_all=True, append_images=others, duration=duration, loop=0)
print(f"{len(pictures)} frames: {arguments.out}")
