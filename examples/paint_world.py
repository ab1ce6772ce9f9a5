"""Paint a world by words while it runs: a look is said once, together with a move, and stays while
the pusher is driven on.

python examples/paint_world.py [--world PushT-Looks] [--out painted.png] ["a red T, a black table"
"a yellow pusher" ...]
"""

import argparse

import cv2
import gymnasium
import numpy as np

import streamdit_gym  # noqa: F401  (registers the ids)

LOOKS = [
    "a black table, a yellow T, a red goal, a white pusher",
    "a pink table, a blue T",
    "the block turns orange, its goal in purple",
    "a red dot, on a grey table",
]
MOVES = ["move right", "move down", "move left", "move up"]
SHOWN = (0, 1, 4, 8, 16, 24, 32)  # frames after the look was said

parser = argparse.ArgumentParser()
parser.add_argument("looks", nargs="*", default=LOOKS)
parser.add_argument("--world", default="PushT-Looks", help="a world that was trained on colours")
parser.add_argument("--out", default="painted.png")
arguments = parser.parse_args()

# colours are no phrases of the bundle: `pip install -e ".[text]"` brings the encoder
count = len(arguments.looks)
envs = gymnasium.make_vec(
    "StreamDiT/PushT-Looks-v0", world=arguments.world, num_envs=count, actions="text"
)
frames, _ = envs.reset(seed=[11] * count)  # all from the same picture
film = [frames]
for step in range(max(SHOWN)):
    move = MOVES[step // 8 % len(MOVES)]
    said = [f"{look}; {move}" for look in arguments.looks] if step == 0 else [move] * count
    film.append(envs.step(tuple(said))[0])
rows = []
for look, row in zip(arguments.looks, np.stack([film[i] for i in SHOWN], 1), strict=True):
    caption = np.full((22, 192 * len(SHOWN), 3), 255, np.uint8)
    cv2.putText(caption, look, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    rows += [caption, np.concatenate(list(row), axis=1).repeat(3, 0).repeat(3, 1)]
cv2.imwrite(arguments.out, np.concatenate(rows)[..., ::-1])
print(f"wrote {arguments.out}: {count} looks, frames {', '.join(map(str, SHOWN))}")
