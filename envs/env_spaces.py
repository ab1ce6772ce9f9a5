"""The spaces of an environment.

Takes: sizes.  Gives: Gymnasium's spaces.  Knows nothing of: episodes, how frames are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from streamdit_gym.envs.backends import MAX_ABS_READOUT
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.errors import ShapeError
from streamdit_gym.world import World


def backend_space(size: int, encoder: World | None) -> spaces.Box[Any]:
    """Return the space of what a backend hands out: uint8 frames (h, w, 3),
    or the encoder's latents (c, g, g).
    """
    if encoder is None:
        return spaces.Box(0, 255, (size, size, 3), np.uint8)
    codec = encoder.codec
    return spaces.Box(-np.inf, np.inf, (codec.channels, codec.grid, codec.grid), np.float32)


def observation_space(
    handed_out: spaces.Box[Any], observation: str, encoder: World | None
) -> spaces.Box[Any]:
    """Return the space of one observation, without the actions that are pending."""
    if observation != "state" or encoder is None:
        return handed_out
    shape = (encoder.readout.out.out_features,)
    return spaces.Box(-MAX_ABS_READOUT, MAX_ABS_READOUT, shape, np.float32)


def with_pending(
    space: spaces.Box[Any], observation: str, menu_size: int, latency_frames: int
) -> spaces.Dict:
    """Return the space of observations that also hold the actions begun but not yet visible.

    Raises:
        ShapeError: if none ever is.
    """
    if not latency_frames or not menu_size:
        raise ShapeError(
            "no menu action is ever pending here",
            given="pending_actions=True",
            allowed="generated worlds, partitions with N > 1, actions='menu'",
            remedy="drop it",
        )
    pending = spaces.MultiDiscrete([menu_size] * latency_frames)
    return spaces.Dict({observation: space, "pending": pending})


def action_space(actions: str, menu_size: int) -> spaces.Discrete | PromptSpace:
    """Return the space of one action: a number of the menu, or a prompt."""
    return PromptSpace() if actions == "text" else spaces.Discrete(menu_size)
