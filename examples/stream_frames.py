"""Stream frames from prompts: a few words in, a film strip out.

python examples/stream_frames.py [--out strip.png] [--steps 12]
"""

import argparse

import cv2
import gymnasium
import numpy as np

import streamdit_gym  # noqa: F401  (registers the environments)

PROMPTS = ("move right", "move down", "move left", "stay")
SCALE = 3

parser = argparse.ArgumentParser()
parser.add_argument("--out", default="strip.png")
parser.add_argument("--steps", type=int, default=12, help="frames per prompt")
arguments = parser.parse_args()

# the bundle carries these phrases; any other text works too, once `pip install -e ".[text]"`
# has installed the encoder
env = gymnasium.make("StreamDiT/PushT-v0", actions="text")
frame, info = env.reset(seed=3)
frames = [frame]
for prompt in PROMPTS:
    for _ in range(arguments.steps):
        frame, reward, terminated, truncated, info = env.step(prompt)
        if terminated or truncated:
            frame, info = env.reset()
    print(f"{prompt!r}: the T's corners are {-info['potential']:.1f} px from their goal")
    frames.append(frame)

strip = np.concatenate(frames, axis=1)
enlarged = strip.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
cv2.imwrite(arguments.out, enlarged[..., ::-1])
print(f"wrote {arguments.out}")
