"""Action languages: menus of phrases, and words along the dimensions of a box."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from streamdit_gym.actions import (
    Menu,
    SpokenBox,
    action_names,
    loaded_actions,
    needed_phrases,
    stored_actions,
)
from streamdit_gym.data.random_actions import HeldExploration, draw_box_values

ARM = SpokenBox(
    shoulder=("hard left", "left", "still", "right", "hard right"),
    grip=("open", "closed"),
    low=(-2.0, 0.0),
    high=(2.0, 1.0),
)
MENU = Menu("stay", ("go", "move on"))


def test_a_menus_first_phrase_is_its_prompt() -> None:
    assert MENU.phrases == (("stay",), ("go", "move on"))
    assert [MENU.prompt(action) for action in range(len(MENU))] == ["stay", "go"]
    assert MENU.prompt(MENU.idle) == "stay"


def test_a_box_is_said_in_clauses() -> None:
    assert ARM.prompt(np.array([-1.0, 1.0])) == "shoulder left; grip closed"
    assert ARM.prompt(ARM.idle) == "shoulder still; grip open"
    assert len(ARM.clauses) == 7
    assert ARM.clauses[0] == "shoulder hard left"


def test_words_stand_at_equal_distances() -> None:
    values = np.array([[-2.0, 0.0], [-0.5, 0.25], [2.0, 1.0]])
    np.testing.assert_allclose(ARM.positions(values), [[0, 0], [1.5, 0.25], [4, 1]])
    np.testing.assert_allclose(ARM.values(ARM.positions(values)), values)


def test_values_outside_the_box_stand_at_its_border() -> None:
    np.testing.assert_allclose(ARM.positions(np.array([9.0, -9.0])), [4, 0])


def test_idle_is_what_is_nearest_to_zero() -> None:
    assert SpokenBox(lift=("low", "high"), low=0.5, high=1.0).idle.tolist() == [0.5]


def test_dimensions_may_have_any_name() -> None:
    box = SpokenBox({"low": ("a", "b"), "joint 1": ("c", "d")}, low=0.0)
    assert box.names == ("low", "joint 1")
    assert action_names(box) == box.names
    assert action_names(MENU) == ("stay", "go")


@pytest.mark.parametrize("actions", [MENU, ARM], ids=["menu", "box"])
def test_files_hold_an_action_language(actions: Menu | SpokenBox) -> None:
    assert loaded_actions(stored_actions(actions)) == actions
    assert pickle.loads(pickle.dumps(actions)) == actions


def test_what_is_embedded_before_a_stream_moves() -> None:
    assert needed_phrases(MENU) == ["stay", "go"]
    assert needed_phrases(ARM) == ARM.clauses


def test_exploration_of_a_box_stays_inside_and_reaches_ends_and_idle() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([draw_box_values(rng, ARM) for _ in range(500)])
    assert (values >= np.array(ARM.low)).all()
    assert (values <= np.array(ARM.high)).all()
    shoulder = values[:, 0]
    for special in (-2.0, 0.0, 2.0):
        assert (shoulder == special).mean() > 0.1
    assert len(np.unique(shoulder)) > 100


@pytest.mark.parametrize("actions", [MENU, ARM], ids=["menu", "box"])
def test_exploration_holds_an_action_for_some_frames(actions: Menu | SpokenBox) -> None:
    rng = np.random.default_rng(0)
    policy = HeldExploration(actions)
    taken = np.stack([np.atleast_1d(policy.next(rng)) for _ in range(400)])
    changes = (taken[1:] != taken[:-1]).any(1).mean()
    assert 0.05 < changes < 0.35
