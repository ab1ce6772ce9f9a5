"""What the evaluation knows of PushT alone: its objects, and phrases that no training has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.replayed_worlds import (
    ACTION_OF,
)

from streamdit_gym.data.recorder import RecordConfig, record_shard
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.object_integrity import object_integrity
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.world import WORLD
from streamdit_gym.evaluate.candidate import (
    sampled_prompts,
)


def test_unseen_phrases_stand_for_their_actions() -> None:
    shard = record_shard(
        replace(WORLD, starts={"uniform": 1.0}), RecordConfig(episodes=1, steps=12, seed=6), 0
    )
    (prompts,) = sampled_prompts(UNSEEN_PHRASES, shard.actions)
    assert [ACTION_OF[phrase] for phrase in prompts] == shard.actions[0].tolist()
    assert not set(prompts) & {phrase for phrases in SPEC.menu for phrase in phrases}


def test_objects_are_counted() -> None:
    shard = record_shard(
        replace(WORLD, starts={"near_goal": 1.0}), RecordConfig(episodes=3, steps=20, seed=5), 0
    )
    frames = shard.frames.reshape(-1, 64, 64, 3)
    found = object_integrity(frames)
    assert (found["pusher"] == 1).mean() > 0.98
    assert (found["T"] == 1).mean() > 0.98
    lump = np.full((1, 64, 64, 3), 255, np.uint8)
    lump[0, -5:, -6:] = (119, 136, 153)
    assert object_integrity(lump)["T"].tolist() == [0.0], "what is left of a T in a corner is no T"
    gone = frames.copy()
    gone[(np.abs(frames.astype(int) - [65, 105, 225]).max(-1) < 90)] = 255
    assert (object_integrity(gone)["pusher"] == 0).all()
    twice = np.minimum(frames, frames[:, ::-1])
    assert object_integrity(twice)["pusher"].mean() < 0.2
    import cv2

    melted = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames])
    assert object_integrity(melted)["T"].mean() < 0.2
