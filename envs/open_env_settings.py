"""What the environments over an open model are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypedDict

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.checks import MAX_LONG_PROMPT_CHARS, check_choice, check_int, check_prompt
from streamdit_gym.errors import ArgumentError
from streamdit_gym.open_weights.load_open_model import OpenSettings, load_open_model
from streamdit_gym.open_weights.open_streams import OpenModel

# from the frames of a step (f, h, w, 3) and its prompt to a reward
Reward = Callable[[UInt8[np.ndarray, "f h w 3"], str], float]
MAX_HORIZON = 1_000_000
RENDER_MODES = ("rgb_array",)
load_once = lru_cache(maxsize=1)(load_open_model)


class OpenKeywords(TypedDict, total=False):
    """The attributes of `OpenEnvSettings` beside the model, as arguments of an environment."""

    menu: Sequence[str] | None
    prompt: str | None
    reward: Reward | None
    horizon: int
    settings: OpenSettings | None
    render_mode: str | None


@dataclass(frozen=True, kw_only=True)
class OpenEnvSettings:
    """The arguments of an environment over an open model, checked.

    Attributes:
        model: folder or Hub id, see `load_open_model`, or a model that is loaded.
        menu: the prompts that an agent chooses from, a ``Discrete`` space; None: any text of at
            most 1,000 characters.
        prompt: of the clip that an episode begins with; None: the first of the menu if there is
            one, or the model's idle one.
        reward: of a step; None: 0.
        horizon: steps after which an episode is truncated.
        settings: how the model is loaded, if it is named.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ArgumentError: if one is out of range.
        UnknownNameError: if there is no such render mode.
    """

    model: str | OpenModel
    menu: Sequence[str] | None = None
    prompt: str | None = None
    reward: Reward | None = None
    horizon: int = 100
    settings: OpenSettings | None = None
    render_mode: str | None = None

    def __post_init__(self) -> None:
        check_int("horizon", self.horizon, least=1, most=MAX_HORIZON)
        if self.render_mode is not None:
            check_choice("render_mode", self.render_mode, RENDER_MODES)
        if self.prompt is not None:
            object.__setattr__(self, "prompt", check_prompt(self.prompt, MAX_LONG_PROMPT_CHARS))
        if self.menu is None:
            return
        menu = tuple(check_prompt(text, MAX_LONG_PROMPT_CHARS) for text in self.menu)
        object.__setattr__(self, "menu", menu)
        if not self.menu:
            raise ArgumentError(
                "a menu without prompts",
                given="menu=[]",
                allowed="at least one prompt, or None for any text",
                remedy='menu=["walk on", "turn left"]',
            )

    def model_for(self, num_envs: int) -> OpenModel:
        """Return the model, which is loaded once for equal settings, with room for the streams.

        Raises:
            BundleError: if there is no such model.
            ArgumentError: if there is too little memory.
        """
        if isinstance(self.model, OpenModel):
            return self.model
        settings = self.settings or OpenSettings()
        return load_once(self.model, replace(settings, streams=max(settings.streams, num_envs)))

    def start_prompt(self, model: OpenModel) -> str:
        """Return the prompt of the clip that an episode begins with."""
        if self.prompt is not None:
            return self.prompt
        if self.menu is not None:
            return self.menu[0]
        return check_prompt(model.prompts.texts[0], MAX_LONG_PROMPT_CHARS)
