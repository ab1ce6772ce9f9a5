"""Minari data sets with pictures; the package minari reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from streamdit_gym.actions import ActionLanguage, Menu
from streamdit_gym.data.imports.pictures import (
    camera_sizes,
    colour_pictures,
    resized,
    tiled,
)
from streamdit_gym.data.imports.recordings import (
    Description,
    ImportSettings,
    RecordedEpisode,
    Recordings,
    UnreadableEpisodeError,
    choose_cameras,
    left_out_states_note,
    other_cameras_note,
    usable_states,
)
from streamdit_gym.data.imports.resampling import TARGET_FPS
from streamdit_gym.data.imports.spoken_actions import MAX_BOUND, ActionRanges, spoken_box
from streamdit_gym.errors import ArgumentError, DatasetError, require

PURPOSE = "reading a Minari data set"
WHOLE = "observation"  # name of an observation that is no dictionary
CHANNELS = (1, 3, 4)
HDF5_FILE = "main_data.hdf5"


class MinariRecordings(Recordings):
    """A folder with ``data/metadata.json`` and the episodes beside it.

    Args:
        folder: the data set, or its folder ``data``.
        settings: how it is read.

    Raises:
        DatasetError: if it cannot be read, or has no pictures or no actions that can be said.
        UnknownNameError: if it has no such camera.
    """

    def __init__(self, folder: Path, settings: ImportSettings) -> None:
        self._data = folder / "data" if (folder / "data").is_dir() else folder
        self._size = settings.frame_size
        self._dataset = _open(self._data)
        self._numbers = [int(number) for number in self._dataset.episode_indices]
        self._spaces = _leaf_spaces(self._dataset.observation_space)
        cameras = _cameras(self._spaces)
        self._cameras = choose_cameras(cameras, settings.cameras)
        vectors = _state_vectors(self._spaces)
        states = usable_states(vectors)
        self._states = list(states)
        self._kept: np.ndarray | None = None
        self._first_action = 0
        if settings.prompts == "captions":
            raise ArgumentError(
                "a Minari data set has no captions",
                given="prompts=captions",
                allowed="prompts=actions",
                remedy="leave it out",
            )
        actions, notes = self._actions()
        if settings.fps is None:
            notes = (*notes, f"Minari holds no frame rate; taken for {TARGET_FPS:g} a second")
        self.description = Description(
            format="minari",
            fps=settings.fps or TARGET_FPS,
            actions=actions,
            episodes=[f"episode {number}" for number in self._numbers],
            state_names=tuple(name for names in states.values() for name in names),
            has_rewards=any(values.any() for values in self._arrays("rewards")),
            has_success=False,
            notes=(
                *other_cameras_note(cameras, self._cameras),
                *left_out_states_note(vectors, states),
                *notes,
            ),
        )

    def read(self, number: int) -> RecordedEpisode:
        """Return an episode."""
        try:
            (episode,) = self._dataset.iterate_episodes([self._numbers[number]])
        except Exception as error:  # whatever the package's own readers raise
            raise UnreadableEpisodeError(str(error) or type(error).__name__) from error
        steps = len(episode.rewards)
        frames = tiled(self._pictures(episode.observations), self._size)
        states = [np.zeros((len(frames), 0))]
        for name in self._states:
            states.append(np.asarray(_leaf(episode.observations, name)).reshape(len(frames), -1))
        if len(frames) != steps + 1:
            raise UnreadableEpisodeError(f"{len(frames)} observations for {steps} steps")
        return RecordedEpisode(
            frames=frames,
            actions=self._episode_actions(np.asarray(episode.actions)),
            rewards=np.asarray(episode.rewards, dtype=np.float64),
            states=np.concatenate(states, axis=1),
            terminated=bool(episode.terminations[-1]) if steps else False,
        )

    def _actions(self) -> tuple[ActionLanguage, tuple[str, ...]]:
        """Return the action language, and notes about it."""
        spaces = require("gymnasium.spaces", "generate", PURPOSE)
        space = self._dataset.action_space
        if isinstance(space, spaces.Discrete):
            self._first_action = int(space.start)
            return Menu(*[f"action {number}" for number in range(int(space.n))]), ()
        if isinstance(space, spaces.Box) and len(space.shape) == 1:
            names = [f"action {number}" for number in range(1, space.shape[0] + 1)]
            recorded = ActionRanges.of(names, self._arrays("actions"))
            self._kept = recorded.varies
            # the space's own bounds, where it has any
            bounded = (np.abs(space.low) <= MAX_BOUND) & (np.abs(space.high) <= MAX_BOUND)
            ranges = ActionRanges(
                names=recorded.names,
                low=np.where(bounded & recorded.varies, space.low, recorded.low),
                high=np.where(bounded & recorded.varies, space.high, recorded.high),
            )
            return spoken_box(ranges)
        raise DatasetError(
            "actions that cannot be said",
            given=space,
            allowed="Discrete, or a Box of one axis",
            remedy="record with a wrapper that has such actions",
        )

    def _episode_actions(self, actions: np.ndarray) -> np.ndarray:
        if self._kept is None:
            return actions.astype(np.int64) - self._first_action
        return actions[:, self._kept]

    def _arrays(self, name: str) -> Iterator[np.ndarray]:
        """Yield an array of every episode, without reading the pictures where that can be."""
        path = self._data / HDF5_FILE
        if not path.is_file():
            for episode in self._dataset.iterate_episodes():
                yield np.asarray(getattr(episode, name), dtype=np.float64)
            return
        h5py = require("h5py", "generate", PURPOSE)
        with h5py.File(path) as file:
            for number in self._numbers:
                yield np.asarray(file[f"episode_{number}"][name], dtype=np.float64)

    def _pictures(self, observations: Any) -> list[UInt8[np.ndarray, "g _ _ 3"]]:
        sizes = camera_sizes(self._size, len(self._cameras))
        cameras = []
        for camera, size in zip(self._cameras, sizes, strict=True):
            pictures = colour_pictures(np.asarray(_leaf(observations, camera), dtype=np.uint8))
            cameras.append(np.stack([resized(picture, size) for picture in pictures]))
        return cameras


def _open(data: Path) -> Any:
    dataset_class = require("minari", "generate", PURPOSE).MinariDataset
    try:
        return dataset_class(data)
    except Exception as error:  # whatever the package's own readers raise
        raise DatasetError(
            "a Minari data set cannot be read",
            given=f"{data}: {error}",
            allowed="a folder that Minari wrote",
            remedy="get it again: minari download ID",
        ) from error


def _leaf_spaces(space: Any) -> dict[str, Any]:
    """Return the parts of an observation by their name; nested ones have slashes between."""
    inner = getattr(space, "spaces", None)
    if not isinstance(inner, dict):
        return {WHOLE: space}
    leaves = {}
    for name, part in inner.items():
        for rest, leaf in _leaf_spaces(part).items():
            leaves[name if rest == WHOLE else f"{name}/{rest}"] = leaf
    return leaves


def _leaf(observations: Any, name: str) -> Any:
    if name == WHOLE and not isinstance(observations, dict):
        return observations
    for part in name.split("/"):
        observations = observations[part]
    return observations


def _cameras(spaces: dict[str, Any]) -> list[str]:
    cameras = [name for name, space in spaces.items() if _is_picture(space)]
    if not cameras:
        given = ", ".join(f"{name} {getattr(space, 'shape', '')}" for name, space in spaces.items())
        raise DatasetError(
            "a Minari data set without pictures",
            given=given,
            allowed="observations of type uint8 and shape (height, width, 3)",
            remedy="record with pictures: gymnasium.wrappers.AddRenderObservation",
        )
    return cameras


def _is_picture(space: Any) -> bool:
    shape = getattr(space, "shape", None) or ()
    has_channels = len(shape) == 3 and (shape[-1] in CHANNELS or shape[0] in CHANNELS)
    return has_channels and space.dtype == np.uint8


def _is_vector(space: Any) -> bool:
    is_box = hasattr(space, "low") and hasattr(space, "high")
    return is_box and len(space.shape) == 1 and space.dtype.kind == "f"


def _state_vectors(spaces: dict[str, Any]) -> dict[str, list[str]]:
    """Return the observations that are vectors, with names for their numbers."""
    vectors = {}
    for name, space in spaces.items():
        if _is_vector(space):
            vectors[name] = [f"{name} {number}" for number in range(1, space.shape[0] + 1)]
    return vectors
