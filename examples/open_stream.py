"""A sentence becomes a film, and a second one steers it: an open video model, streamed.

Usage: python examples/open_stream.py wan:Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers \
    "a boat on a calm sea" "a storm comes up" --seconds 10 --out film.mp4

The model is a folder in diffusers' layout or a Hub id. `streamdit-gym doctor wan:...` says whether
this machine can hold it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamdit_gym.data.video import PLAYABLE, write_video
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenStreams

FRAMES_PER_LATENT = 4


def main() -> None:
    """Stream, and write the film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("prompts", nargs="+", help="each steers an equal part of the film")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(480, 832), metavar=("HEIGHT", "WIDTH")
    )
    parser.add_argument("--partition", default=None, help="such as K5N8c2s1")
    parser.add_argument("--fps", type=int, default=24, help="SkyReels-V2: 24; Wan 2.1: 16")
    parser.add_argument("--guidance", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=30, help="for the clip that begins the film")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("film.mp4"))
    options = parser.parse_args()
    settings = OpenSettings(
        frame_size=tuple(options.size),
        partition=options.partition,
        guidance=options.guidance,
        clip_steps=options.steps,
        dtype=options.dtype,
    )
    streams = OpenStreams(load_open_model(options.model, settings))
    wanted = round(options.seconds * options.fps)
    # frames that are in the buffer already when a prompt comes
    delay = FRAMES_PER_LATENT * streams.model.partition.latency_frames
    frames = list(streams.start(options.prompts[:1], [options.seed])[0])
    with tqdm(total=wanted, initial=len(frames), unit="frame") as bar:
        while len(frames) < wanted:
            part = (len(frames) + delay) * len(options.prompts) // wanted
            part = min(len(options.prompts) - 1, part)
            chunk = streams.step([options.prompts[part]])[0]
            frames += list(chunk)
            bar.update(len(chunk))
    film = np.stack([frame.cpu().numpy() for frame in frames[:wanted]])
    write_video(options.out, film, options.fps, PLAYABLE)
    print(f"{wanted} frames: {options.out}")


if __name__ == "__main__":
    main()
