"""Imported episodes on disk, each in files of its own, until all are there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.dataset import UNREADABLE, read_meta
from streamdit_gym.data.episode import NO_PROMPT, Episode, stack_episodes
from streamdit_gym.data.formats.mkv import Mkv
from streamdit_gym.data.imports.episode_pieces import Piece
from streamdit_gym.data.imports.recordings import RecordedEpisode, UnreadableEpisodeError
from streamdit_gym.data.shard import ARRAY_NAMES, LATER_ARRAY_NAMES, Shard, arrays_path
from streamdit_gym.definition import WorldSpec
from streamdit_gym.files import write_json

ORIGIN = "origin.json"


class EpisodeStore:
    """Episodes in a folder; those of other recordings or settings are removed.

    Args:
        folder: theirs alone.
        spec: the world.
        origin: what the episodes depend on, as JSON.
    """

    def __init__(self, folder: Path, spec: WorldSpec, origin: dict[str, Any]) -> None:
        self._folder = folder
        self._spec = spec
        path = folder / ORIGIN
        if path.is_file() and read_meta(path) != origin:
            self.remove()
        if not path.is_file():
            write_json(path, origin)
        self._newest: tuple[int, Shard] | None = None

    def remove(self) -> None:
        """Remove all episodes."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def save(self, number: int, recorded: RecordedEpisode) -> None:
        """Keep an episode.

        Raises:
            UnreadableEpisodeError: if it cannot be learned from.
        """
        episode = _checked_episode(self._spec, recorded)
        shard = stack_episodes(self._spec, [episode], len(episode.actions))
        shard.save(self._folder, number)

    def length(self, number: int) -> int | None:
        """Return the steps of an episode; None if it is not here, or cannot be read."""
        try:
            with np.load(arrays_path(self._folder, number)) as file:
                return int(file["lengths"][0])
        except UNREADABLE:
            return None

    def piece(self, piece: Piece) -> Episode:
        """Return a part of an episode."""
        shard = self._shard(piece.episode)
        steps = slice(piece.start, piece.start + piece.steps)
        frames = slice(piece.start, piece.start + piece.steps + 1)
        is_last = steps.stop == shard.actions.shape[1]
        rewards = shard.rewards[0, steps]
        return Episode(
            frames=list(shard.frames[0, frames]),
            actions=list(shard.actions[0, steps]),
            prompts=list(shard.prompts[0, steps]),
            rewards=rewards[:, 0].tolist() if rewards.shape[1] else [0.0] * piece.steps,
            states=list(shard.states[0, frames]),
            scores=list(shard.scores[0, frames]),
            terminated=bool(shard.terminated[0]) and is_last,
        )

    def _shard(self, number: int) -> Shard:
        if self._newest is None or self._newest[0] != number:
            with np.load(arrays_path(self._folder, number)) as file:
                arrays = {name: file[name] for name in (*ARRAY_NAMES, *LATER_ARRAY_NAMES)}
            frames = Mkv().read(self._folder, number, 1)
            self._newest = (number, Shard(frames=frames, **arrays))
        return self._newest[1]


def _checked_episode(spec: WorldSpec, recorded: RecordedEpisode) -> Episode:
    """Return an episode as simulators' episodes are kept.

    Raises:
        UnreadableEpisodeError: if it has no step, or numbers that are not finite.
    """
    steps = len(recorded.frames) - 1
    if steps < 1:
        raise UnreadableEpisodeError("it has one frame only")
    for name in ("actions", "rewards", "states", "success"):
        if not np.isfinite(getattr(recorded, name)).all():
            raise UnreadableEpisodeError(f"{name} are not all finite")
    actions = recorded.actions.astype(spec.actions.dtype)
    prompts = recorded.actions
    if isinstance(spec.actions, SpokenBox):
        low = np.asarray(spec.actions.low, dtype=np.float32)
        high = np.asarray(spec.actions.high, dtype=np.float32)
        actions = actions.clip(low, high)  # statistics may have been rounded
        prompts = np.full(steps, NO_PROMPT)
    success = np.zeros((steps + 1, 0), dtype=np.float32)
    if spec.score_names:
        success = recorded.success[:, None].astype(np.float32)
    return Episode(
        frames=list(recorded.frames),
        actions=list(actions),
        prompts=prompts.tolist(),
        rewards=recorded.rewards.tolist(),
        states=list(recorded.states.astype(np.float32)),
        scores=list(success),
        terminated=recorded.terminated,
    )
