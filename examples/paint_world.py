"""Change colours by prompt: named once, together with a move, they stay while the pusher moves on.

python examples/paint_world.py [--world PushT-Looks] [--out painted.png] ["a red T" "a black table"]
"""

import argparse

import cv2
import gymnasium
import numpy as np

import streamdit_gym  # noqa: F401  (registers the environments)

APPEARANCES = [
    "a black table, a yellow T, a red goal, a white pusher",
    "a pink table, a blue T",
    "the block turns orange, its goal in purple",
    "a red dot, on a grey table",
]
MOVES = ["move right", "move down", "move left", "move up"]
STEPS_PER_MOVE = 8
SHOWN_STEPS = (0, 1, 4, 8, 16, 24, 32)  # steps after the colours were named
SCALE = 3
DARK_GREY = (40, 40, 40)


def draw_row(appearance: str, frames: np.ndarray) -> np.ndarray:
    """Return the shown frames of one environment below a caption."""
    strip = np.concatenate(list(frames), axis=1)
    tall = strip.repeat(SCALE, axis=0)
    enlarged = tall.repeat(SCALE, axis=1)
    width = enlarged.shape[1]
    caption = np.full((22, width, 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(caption, appearance, (4, 16), font, 0.5, DARK_GREY, 1, cv2.LINE_AA)
    return np.concatenate([caption, enlarged])


parser = argparse.ArgumentParser()
parser.add_argument("appearances", nargs="*", default=APPEARANCES)
parser.add_argument("--world", default="PushT-Looks", help="a world that was trained on colours")
parser.add_argument("--out", default="painted.png")
arguments = parser.parse_args()

# prompts with colours are not in the bundle: `pip install -e ".[text]"` installs their encoder
appearances = arguments.appearances
envs = gymnasium.make_vec(
    "StreamDiT/PushT-Looks-v0",
    world=arguments.world,
    num_envs=len(appearances),
    actions="text",
)
frames, _ = envs.reset(seed=[11] * len(appearances))  # all start from the same frame
history = [frames]
for step in range(max(SHOWN_STEPS)):
    move = MOVES[step // STEPS_PER_MOVE % len(MOVES)]
    prompts = [move] * len(appearances)
    if step == 0:
        prompts = [f"{appearance}; {move}" for appearance in appearances]
    frames, *_ = envs.step(tuple(prompts))
    history.append(frames)

shown = np.stack([history[step] for step in SHOWN_STEPS], axis=1)
rows = [draw_row(*pair) for pair in zip(appearances, shown, strict=True)]
cv2.imwrite(arguments.out, np.concatenate(rows)[..., ::-1])
print(f"wrote {arguments.out}: {len(appearances)} appearances, after steps {SHOWN_STEPS}")
