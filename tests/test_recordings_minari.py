"""Minari data sets become data sets of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.imported_recordings import (
    definition_of,
    episode_of,
    refusal,
)
from support.recordings import (
    moving_square,
    write_minari,
)

from streamdit_gym.actions import Menu
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recordings import ImportSettings


class TestMinari:
    @pytest.fixture(autouse=True)
    def _needs_minari(self) -> None:
        pytest.importorskip("minari")

    def test_numbered_actions_are_a_menu(self, tmp_path: Path) -> None:
        import gymnasium

        space = gymnasium.spaces.Discrete(3, start=1)
        source = write_minari(
            tmp_path, 4, space, lambda number, steps: np.arange(steps) % 3 + space.start
        )
        target = tmp_path / "recorded"
        import_recordings(source, "robot", target, ImportSettings(frame_size=(32, 32)))
        dataset = Dataset(target)
        shard, row = episode_of(dataset, 8)
        assert (shard.frames[row, :9] == moving_square(2, 9, (32, 32))).all()
        assert shard.actions[row, :8].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert shard.terminated[row]
        assert shard.rewards[row, :8, 0].tolist() == [0.5] * 8
        assert definition_of(dataset).actions == Menu("action 0", "action 1", "action 2")

    def test_a_box_keeps_its_bounds(self, tmp_path: Path) -> None:
        import gymnasium

        space = gymnasium.spaces.Box(-2.0, 2.0, (3,), np.float32)

        def actions(number: int, steps: int) -> np.ndarray:
            moves = np.random.default_rng(number).uniform(-1, 1, (steps, 3)).astype(np.float32)
            moves[:, 1] = 0.5
            return moves

        pictures = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
        vector = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        source = write_minari(
            tmp_path,
            4,
            space,
            actions,
            observation_space=gymnasium.spaces.Dict({"eye": pictures, "joints": vector}),
            observations=lambda film: {
                "eye": film,
                "joints": np.arange(2 * len(film), dtype=np.float32).reshape(-1, 2),
            },
        )
        target = tmp_path / "recorded"
        import_recordings(source, "robot", target, ImportSettings(frame_size=(32, 32)))
        dataset = Dataset(target)
        box = definition_of(dataset).actions
        assert (box.names, box.low, box.high) == (("action 1", "action 3"), (-2, -2), (2, 2))
        shard, row = episode_of(dataset, 7)
        np.testing.assert_allclose(shard.actions[row, :7], actions(1, 7)[:, [0, 2]])
        assert definition_of(dataset).state_names == ("joints 1", "joints 2")
        assert shard.states[row, 7].tolist() == [14, 15]

    def test_observations_without_pictures_are_refused(self, tmp_path: Path) -> None:
        import gymnasium

        source = write_minari(
            tmp_path,
            3,
            gymnasium.spaces.Discrete(2),
            lambda number, steps: np.arange(steps) % 2,
            observation_space=gymnasium.spaces.Box(-1, 1, (4,), np.float32),
            observations=lambda film: np.zeros((len(film), 4), np.float32),
        )
        assert "without pictures" in refusal(source)
