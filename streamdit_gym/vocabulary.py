"""The nouns handed from room to room, and the legend of the shape letters.

Letters: b env (stream) · f frame · c channel · h w latent grid · l prompt token · e prompt width · u distinct prompts.
Latents are ``b f c h w`` float; times ``b f`` in [0, 1] (0 noise, 1 clean); frames ``b f h w 3`` uint8.

Takes / Gives: plain data.  Knows nothing of: any room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Which prompt each frame was born with.

    A table of distinct prompts and one index per frame, so that text work is done once per prompt, not per frame.

    Attributes:
        tokens: token embeddings of the distinct prompts, padded.
        mask: True where a token is real.
        pooled: one vector per prompt.
        index: row of the table for every frame; -1 means no prompt (dropped).
    """

    tokens: Float[Tensor, "u l e"]
    mask: Tensor
    pooled: Float[Tensor, "u e"]
    index: Int[Tensor, "b f"]


@dataclass(frozen=True, kw_only=True)
class PreparedPrompts:
    """A prompt table as a model uses it, made once and not at every evaluation; row 0 stands for no prompt.

    Attributes:
        pooled: what adaLN adds, one vector per prompt.
        mask: True where a token is real.
        keys: cross-attention keys in every layer; g attention heads.
        values: likewise.
        looks: what each says of each colour of the palette, see `streamdit_gym.model.looks`; no colours in a world without.
    """

    pooled: Float[Tensor, "u d"]
    mask: Bool[Tensor, "u l"]
    keys: Float[Tensor, "layer u g l d"]
    values: Float[Tensor, "layer u g l d"]
    looks: Float[Tensor, "u k 4"]

    def join(self, later: PreparedPrompts) -> PreparedPrompts:
        """Return this table with the prompts of a later one behind it (without that one's row 0)."""
        import torch

        longest = max(self.mask.shape[1], later.mask.shape[1])

        def longer(x: Tensor, axes_behind: int) -> Tensor:
            return torch.nn.functional.pad(x, (0, 0) * axes_behind + (0, longest - x.shape[-1 - axes_behind]))

        return PreparedPrompts(
            pooled=torch.cat([self.pooled, later.pooled[1:]]),
            mask=torch.cat([longer(self.mask, 0), longer(later.mask[1:], 0)]),
            keys=torch.cat([longer(self.keys, 1), longer(later.keys[:, 1:], 1)], 1),
            values=torch.cat([longer(self.values, 1), longer(later.values[:, 1:], 1)], 1),
            looks=torch.cat([self.looks, later.looks[1:]]),
        )


@dataclass(frozen=True, kw_only=True)
class BufferView:
    """What the model sees in one evaluation: frames in playback order, each at its own time.

    Attributes:
        latents: the frames.
        times: noise level of every frame, 0 noise to 1 clean.
        before: the frame before each frame, at its own noise level (zeros where there is none).
        before_times: noise level of the frame before (0 where there is none).
        positions: place of every frame on the time axis, relative; cached frames stand before them.
        mask: True where a frame (row) may look at a frame (column); columns are the cached frames, then these frames.
            None: every frame sees every frame.
        context: how many of the first frames are only looked at; nothing is predicted for them.
    """

    latents: Float[Tensor, "b f c h w"]
    times: Float[Tensor, "b f"]
    before: Float[Tensor, "b f c h w"]
    before_times: Float[Tensor, "b f"]
    positions: Int[Tensor, " f"]
    mask: Tensor | None
    context: int


class Simulator(Protocol):
    """A real simulator (a world's twin) as `record` and `evaluate` see it. One instance is one environment."""

    def reset(self, rng: np.random.Generator, start: str) -> UInt8[np.ndarray, "h w 3"]:
        """Start an episode of the given kind and return the first frame."""

    def step(self, action: int) -> UInt8[np.ndarray, "h w 3"]:
        """Take one menu action and return the next frame."""

    def plain(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return the newest frame in the looks of the world that this one goes on from; None if it looks like no other."""

    def explore(self, rng: np.random.Generator) -> int:
        """Return the next action of the mixed player that makes training data."""

    def said(self, action: int, phrase: str) -> str:
        """Return what is said with an action of `explore`'s: the menu's phrase, or one of `WorldSpec.also`."""

    def hear(self, text: str) -> str:
        """Do at once what a text says beside the next move, if the simulator can do such a thing, and return the rest of the text."""

    def state(self) -> Float[np.ndarray, " n"]:
        """Return the true state, in the order of `WorldSpec.state_names`."""

    def scores(self) -> Float[np.ndarray, " m"]:
        """Return the true task scores, in the order of `WorldSpec.score_names`."""

    def save(self) -> Any:
        """Return what `restore` needs to come back to this very state."""

    def restore(self, saved: Any) -> None:
        """Go back to a saved state."""

    def put(self, rng: np.random.Generator, before: Float[np.ndarray, " n"], action: int, state: Float[np.ndarray, " n"]) -> None:
        """Start an episode for `explore` at a state, as `state` gives it, to which an action has led from the one before.

        It is called after `reset`. A simulator may take one more argument named ``sure``: `correct` then hands it the newest states
        in which each thing was whole, by the thing's name, as its own states are read from frames that may be bent.
        """

    def close(self) -> None:
        """Free what the simulator holds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: reward = `scale` x (gain of a potential) + `bonus` on success; success ends the episode.

    The potential and the success probability are scores of the current frame, read by the world's heads (generated
    world) or by the simulator (twin); see `WorldSpec.score_names`.

    Attributes:
        potential: name of the potential score (larger is better).
        success: name of the success score, in [0, 1].
        scale: reward per unit of potential gained.
        bonus: reward added at success.
        threshold: success probability from which the world says that the task is done.
        horizon: steps after which an episode is truncated (the trust horizon).
        about: one line for people.
    """

    potential: str
    success: str
    scale: float
    bonus: float
    threshold: float
    horizon: int
    about: str

    def reward(self, gained: Any, success: Any) -> Any:
        """Return the reward of steps, from the potential gained and the success after them (NumPy or torch)."""
        return self.scale * gained + self.bonus * (success > self.threshold)


@dataclass(frozen=True, kw_only=True)
class WorldSpec:
    """What a world is, apart from its weights: everything `record`, `train` and the environments must agree on.

    Attributes:
        name: name of the world, as in ``World.from_pretrained(name)``.
        size: height and width of a frame in pixels.
        fps: frames (= actions) per simulated second.
        menu: for every action, its phrases; the first one is what the environment says.
        state_names: names of the true state's numbers, for the probe.
        score_names: names of the per-frame scores; names that start with ``success_`` are probabilities.
        tasks: the rewards on offer, by name.
        also: what else the training data say.
        simulator: version of the simulator: recordings of two versions do not mix.
    """

    name: str
    size: int
    fps: float
    menu: tuple[tuple[str, ...], ...]
    state_names: tuple[str, ...]
    score_names: tuple[str, ...]
    tasks: dict[str, Task]
    also: tuple[str, ...] = ()
    simulator: int = 1
