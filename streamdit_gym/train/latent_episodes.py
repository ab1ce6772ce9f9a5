"""Clips of latents with their prompts, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from streamdit_gym.errors import DatasetError
from streamdit_gym.text.prompt_protocol import Prompts


@dataclass(frozen=True, kw_only=True)
class ClipIndex:
    """Where some clips are.

    Attributes:
        episode: the episode of each.
        start: its first frame there.
    """

    episode: Int[Tensor, " n"]
    start: Int[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.episode)


@dataclass(frozen=True, kw_only=True)
class LatentEpisodes:
    """Episodes of latents in memory.

    Attributes:
        latents: half precision.
        prompts: row of the phrase table for every frame, -1 for the first frame, which no action
            led to; of a box, positions among its words, NaN for the first frame.
        states: true states.
        scores: true scores.
        actions: the action that led to every frame, see `streamdit_gym.actions.action_numbers`.
        rewards: that it earned, one column per task, sorted by name.
        terminated: whether it ended the episode.
        lengths: frames of every episode; behind them are copies of its last frame.
        num_generated: how many of an episode's first frames a world generated (DAgger relabelling);
            they are references, and never a target.
    """

    latents: Float[Tensor, "e g c h w"]
    prompts: Prompts
    states: Float[Tensor, "e g n"]
    scores: Float[Tensor, "e g m"]
    actions: Float[Tensor, "e g a"]
    rewards: Float[Tensor, "e g k"]
    terminated: Bool[Tensor, "e g"]
    lengths: Int[Tensor, " e"]
    num_generated: Int[Tensor, " e"]

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.latents)

    @property
    def length(self) -> int:
        """Frames per episode, copies of the last one counted in."""
        return self.latents.shape[1]

    @property
    def is_real(self) -> Bool[Tensor, "e g"]:
        """Which frames are no copies behind an episode's end."""
        return torch.arange(self.length) < self.lengths[:, None]

    def sample(self, count: int, frames: int, generator: torch.Generator) -> ClipIndex:
        """Sample clips of so many frames, none of which reaches beyond its episode's end.

        In episodes with generated frames, clips begin in the later half of those.

        Raises:
            DatasetError: if all episodes are shorter than that.
        """
        long_enough = (self.lengths >= frames).nonzero().flatten()
        if not len(long_enough):
            raise DatasetError(
                "episodes shorter than a clip",
                given=f"{int(self.lengths.max())} frames",
                allowed=f"{frames} or more",
                remedy="record longer ones",
            )
        choice = torch.randint(len(long_enough), (count,), generator=generator)
        episode = long_enough[choice]
        num_starts = self.lengths[episode] - frames + 1
        generated = self.num_generated[episode]
        first = generated // 2
        end = torch.where(generated > 0, generated, num_starts)
        share = torch.rand(count, generator=generator)
        start = first + share * (end - first)
        start = torch.minimum(start.long(), num_starts - 1)
        return ClipIndex(episode=episode, start=start)

    def is_recorded(self, index: ClipIndex, frames: int, offset: int = 0) -> Bool[Tensor, "n f"]:
        """Return which frames of some clips are the simulator's.

        Args:
            index: the clips.
            frames: how many of each.
            offset: of the first frame, from the clip's start.
        """
        first = index.start + offset
        place = first[:, None] + torch.arange(frames)
        num_generated = self.num_generated[index.episode]
        return place >= num_generated[:, None]

    def clips(self, index: ClipIndex, frames: int) -> tuple[Tensor, Tensor]:
        """Cut clips out: latents (n, frames, c, h, w) and prompts (n, frames, ...)."""
        device = self.latents.device
        rows = index.episode[:, None]
        places = index.start[:, None] + torch.arange(frames)
        place = (rows.to(device), places.to(device))
        latents = self.latents[place]
        prompts = self.prompts[place]
        return latents, prompts

    def to(self, device: str) -> LatentEpisodes:
        """Return the latents and prompts on a device, so that clips are cut where they are used."""
        return replace(self, latents=self.latents.to(device), prompts=self.prompts.to(device))

    def split(self, num_held_out: int) -> tuple[LatentEpisodes, LatentEpisodes]:
        """Return all but the last episodes, and the last."""
        end = len(self) - num_held_out
        return self._part(slice(None, end)), self._part(slice(end, None))

    def joined(self, other: LatentEpisodes) -> LatentEpisodes:
        """Return these episodes and others; the longer ones are cut."""
        length = min(self.length, other.length)
        return concatenate([self._cut(length), other._cut(length)])

    def _part(self, part: slice) -> LatentEpisodes:
        return LatentEpisodes(**{name: getattr(self, name)[part] for name in NAMES})

    def _cut(self, length: int) -> LatentEpisodes:
        cut = {name: getattr(self, name)[:, :length] for name in FRAME_NAMES}
        return replace(self, **cut, lengths=self.lengths.clamp(max=length))


NAMES = tuple(field.name for field in fields(LatentEpisodes))
EPISODE_NAMES = ("lengths", "num_generated")
FRAME_NAMES = tuple(name for name in NAMES if name not in EPISODE_NAMES)


def concatenate(parts: Iterable[LatentEpisodes]) -> LatentEpisodes:
    """Return all episodes of several sets of the same length."""
    parts = list(parts)
    tensors: dict[str, Tensor] = {}
    for name in NAMES:
        values = [getattr(part, name) for part in parts]
        tensors[name] = torch.cat(values)
    return LatentEpisodes(**tensors)
