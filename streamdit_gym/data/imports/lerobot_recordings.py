"""LeRobot data sets, version 3.0; the package lerobot is not needed to read them.

The last row of an episode has an action that leads to no frame, so it is left out. Where it ends
the episode, the step before it gets its reward and the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.checks import check_real
from streamdit_gym.data.definition_checks import MAX_FPS
from streamdit_gym.data.imports.lerobot_episodes import EpisodeFiles, Row
from streamdit_gym.data.imports.lerobot_features import (
    ACTION,
    DONE,
    REWARD,
    STATE_PREFIX,
    SUCCESS,
    TRUNCATED,
    Features,
)
from streamdit_gym.data.imports.lerobot_reading import read_info, read_json, read_tasks
from streamdit_gym.data.imports.pictures import camera_sizes, tiled
from streamdit_gym.data.imports.recordings import (
    Description,
    ImportSettings,
    RecordedEpisode,
    Recordings,
    choose_cameras,
    left_out_states_note,
    other_cameras_note,
    usable_states,
)
from streamdit_gym.data.imports.resampling import (
    Resampling,
    default_fps,
    mean_actions,
    success_at_frames,
    summed_rewards,
)
from streamdit_gym.data.imports.spoken_actions import (
    ActionRanges,
    caption_menu,
    clean_caption,
    spoken_box,
)
from streamdit_gym.errors import ArgumentError, DatasetError


class LeRobotRecordings(Recordings):
    """A folder with ``meta/``, ``data/`` and ``videos/``.

    Args:
        folder: the data set.
        settings: how it is read.

    Raises:
        DatasetError: if the data set as a whole cannot be read.
        UnknownNameError: if it has no such camera.
    """

    def __init__(self, folder: Path, settings: ImportSettings) -> None:
        info = read_info(folder)
        features = Features(info["features"])
        source_fps = _source_fps(info)
        self._size = settings.frame_size
        self._features = features
        self._files = EpisodeFiles(folder, info, features)
        self._statistics = _read_statistics(folder)
        self._cameras = choose_cameras(features.cameras, settings.cameras)
        self._resampling = Resampling(source_fps, settings.fps or default_fps(source_fps))
        self._ranges: ActionRanges | None = None
        self._menu_actions: list[int] = []
        actions, notes = self._actions(settings.prompts)
        vectors = {name.removeprefix(STATE_PREFIX): each for name, each in features.states.items()}
        states = usable_states(vectors)
        self._states = [STATE_PREFIX + name for name in states]
        self._columns = self._needed_columns()
        self._files.check_columns(self._columns)
        self.description = Description(
            format="lerobot",
            fps=self._resampling.fps,
            actions=actions,
            episodes=[f"episode {row['episode_index']}" for row in self._files.rows],
            state_names=tuple(name for names in states.values() for name in names),
            has_rewards=self._has_rewards(),
            has_success=self._has_success(),
            notes=(
                *other_cameras_note(features.cameras, self._cameras),
                *left_out_states_note(vectors, states),
                *notes,
            ),
            captions=tuple(sorted(read_tasks(folder).values())),
        )

    def read(self, number: int) -> RecordedEpisode:
        """Return an episode."""
        row = self._files.rows[number]
        columns = self._files.columns(row, self._columns)
        kept = self._resampling.source_frames(row["length"])
        terminated = _is_terminated(columns)
        rewards = columns[REWARD][:, 0] if REWARD in columns else np.zeros(row["length"])
        states = [columns[name][kept] for name in self._states]
        success = columns[SUCCESS][:, 0] if SUCCESS in columns else np.zeros(row["length"])
        return RecordedEpisode(
            frames=self._frames(row),
            actions=self._episode_actions(number, columns, kept),
            rewards=summed_rewards(rewards, kept, ends=terminated),
            states=np.concatenate([np.zeros((len(kept), 0)), *states], axis=1),
            success=success_at_frames(success, kept, ends=terminated),
            terminated=terminated,
        )

    def _actions(self, prompts: str) -> tuple[ActionLanguage, tuple[str, ...]]:
        """Return the action language, and notes about it."""
        if prompts == "captions" or (prompts == "auto" and ACTION not in self._features):
            captions = [_caption(row) for row in self._files.rows]
            menu = caption_menu(captions)
            action_of = {menu.prompt(action): action for action in range(len(menu))}
            self._menu_actions = [action_of[caption] for caption in captions]
            return menu, ()
        if ACTION not in self._features:
            raise DatasetError(
                "a LeRobot data set without actions",
                given=f"features {', '.join(self._features.entries)}",
                allowed="a feature named action",
                remedy="train on the texts of its tasks: prompts=captions",
            )
        self._ranges = self._action_ranges()
        return spoken_box(self._ranges)

    def _action_ranges(self) -> ActionRanges:
        """Return the ranges that ``meta/stats.json`` has, else those of all rows."""
        names = self._features.names_of(ACTION)
        statistics = self._statistics.get(ACTION)
        if statistics is None:
            self._files.check_columns([ACTION])
            rows = (self._files.columns(row, [ACTION])[ACTION] for row in self._files.rows)
            return ActionRanges.of(names, rows)
        low, high = statistics
        if not low.shape == high.shape == (len(names),):
            raise DatasetError(
                "the statistics of the actions have another shape than the actions",
                given=f"meta/stats.json: min {low.shape}, max {high.shape}",
                allowed=f"({len(names)},), as meta/info.json has it",
                remedy="delete meta/stats.json; the ranges are then taken from all rows",
            )
        return ActionRanges(names=tuple(names), low=low, high=high)

    def _needed_columns(self) -> list[str]:
        optional = [REWARD, SUCCESS, DONE, TRUNCATED]
        names = [name for name in optional if name in self._features]
        if self._ranges is not None:
            names.append(ACTION)
        return [*names, *self._states]

    def _has_rewards(self) -> bool:
        """Whether any reward is not zero, as far as the statistics tell."""
        low, high = self._statistics.get(REWARD, (np.zeros(1), np.ones(1)))
        return REWARD in self._features and bool(low.any() or high.any())

    def _has_success(self) -> bool:
        """Whether some steps succeed and others do not, as far as the statistics tell."""
        low, high = self._statistics.get(SUCCESS, (np.zeros(1), np.ones(1)))
        return SUCCESS in self._features and bool((low < high).any())

    def _frames(self, row: Row) -> np.ndarray:
        sizes = camera_sizes(self._size, len(self._cameras))
        pictures = []
        for camera, size in zip(self._cameras, sizes, strict=True):
            pictures.append(self._files.pictures(row, camera, size, self._resampling))
        return tiled(pictures, self._size)

    def _episode_actions(
        self, number: int, columns: dict[str, np.ndarray], kept: Int[np.ndarray, " g"]
    ) -> np.ndarray:
        if self._ranges is None:
            return np.full(len(kept) - 1, self._menu_actions[number])
        return mean_actions(columns[ACTION], kept)[:, self._ranges.varies]


def _source_fps(info: dict[str, Any]) -> float:
    try:
        return check_real("fps", info["fps"], above=0.0, most=MAX_FPS)
    except ArgumentError as error:
        raise DatasetError(
            "a LeRobot data set without a frame rate",
            given=f"meta/info.json: {error.given}",
            allowed=error.allowed,
            remedy="mend fps in meta/info.json",
        ) from error


def _read_statistics(
    folder: Path,
) -> dict[str, tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]]:
    """Return the smallest and the largest values of features; none if there is no such file."""
    path = folder / "meta/stats.json"
    statistics = {}
    for name, entry in (read_json(path) if path.is_file() else {}).items():
        try:
            low = np.array(entry["min"], dtype=np.float64)
            high = np.array(entry["max"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                "the statistics of a LeRobot data set cannot be read",
                given=f"{path}: {name}",
                allowed="min and max of every feature",
                remedy="delete the file; the ranges of actions are then taken from all rows",
            ) from error
        statistics[name] = (low, high)
    return statistics


def _caption(row: Row) -> str:
    tasks = row.get("tasks") or [None]
    return clean_caption(tasks[0], f"the task of episode {row['episode_index']}")


def _is_terminated(columns: dict[str, np.ndarray]) -> bool:
    """Return whether an episode ended by itself: with a success, or done and not cut off.

    ``next.done`` alone does not tell, as it is also true where a recording was stopped.
    """
    if SUCCESS in columns:
        return bool(columns[SUCCESS][-1, 0])
    if DONE in columns and TRUNCATED in columns:
        return bool(columns[DONE][-1, 0]) and not columns[TRUNCATED][-1, 0]
    return False
