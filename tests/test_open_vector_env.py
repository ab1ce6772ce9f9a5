"""A batch of environments over an open model: each row is a single environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from support.edits import edited, same
from support.tiny_wan import make_model, write_folder

from streamdit_gym.envs.open_env import OpenEnv
from streamdit_gym.envs.open_vector_env import OpenVectorEnv
from streamdit_gym.errors import (
    ActionError,
    ArgumentError,
    NotReadyError,
    ShapeError,
    StreamDiTError,
)
from streamdit_gym.open_weights.load_open_model import OpenSettings
from streamdit_gym.open_weights.open_streams import OpenStreams

MENU = ["a cat runs", "rain falls", "fire burns"]
ACTIONS = [[0, 1, 2], [2, 2, 0], [1, 0, 1]]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("K2N2c1s1")


def batch_of(model: Any, num_envs: int = 3, **settings: Any) -> OpenVectorEnv:
    return OpenVectorEnv(num_envs, model=model, **{"menu": MENU, **settings})


def assert_close(frames: np.ndarray, others: np.ndarray) -> None:
    """Sums of a batch have another order: a byte may be rounded otherwise."""
    assert np.abs(frames.astype(int) - others.astype(int)).max() <= 1


def test_rows_are_single_environments_of_their_seeds(model: Any) -> None:
    batch = batch_of(model, reward=lambda frames, prompt: float(frames.mean()) + len(prompt))
    first, _ = batch.reset(seed=7)
    steps = [batch.step(actions) for actions in ACTIONS]
    for row in range(3):
        single = OpenEnv(model, menu=MENU, reward=batch.reward)
        frame, _ = single.reset(seed=7 + row)
        assert_close(first[row], frame)
        for actions, (frames, rewards, terminated, truncated, infos) in zip(
            ACTIONS, steps, strict=True
        ):
            frame, reward, is_terminated, is_truncated, info = single.step(actions[row])
            assert_close(frames[row], frame)
            assert_close(infos["frames"][row], info["frames"])
            assert infos["prompt"][row] == info["prompt"] == MENU[actions[row]]
            assert rewards[row] == pytest.approx(reward, abs=0.5)
            assert (terminated[row], truncated[row]) == (is_terminated, is_truncated)


def test_gymnasium_makes_one_batch_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = OpenSettings(
        frame_size=(32, 48), partition="K2N2c1s1", clip_steps=1, dtype="float32", device="cpu"
    )
    folder = write_folder(tmp_path)
    envs = gymnasium.make_vec(
        "StreamDiT/Open-v0", num_envs=4, model=f"wan:{folder}", menu=MENU, settings=settings
    )
    assert isinstance(envs.unwrapped, OpenVectorEnv)
    assert envs.action_space.nvec.tolist() == [3] * 4  # type: ignore[attr-defined]
    frames, infos = envs.reset(seed=0)
    assert envs.observation_space.contains(frames)
    assert infos["_frames"].all()
    calls: list[int] = []
    step = OpenStreams.step

    def counted(self: OpenStreams, prompts: list[str]) -> Any:
        calls.append(len(prompts))
        return step(self, prompts)

    monkeypatch.setattr(OpenStreams, "step", counted)
    envs.step(envs.action_space.sample())
    assert calls == [4], "one batch"


def test_any_text_is_an_action_without_a_menu(model: Any) -> None:
    envs = batch_of(model, 2, menu=None)
    envs.reset(seed=0, options={"prompt": ["a boat", "a train"]})
    assert envs.action_space.contains(("a boat", "a storm"))
    _, _, _, _, infos = envs.step(("a boat", "a storm"))
    assert infos["prompt"].tolist() == ["a boat", "a storm"]
    with pytest.raises(ActionError, match="not one text"):
        envs.step(["a boat"])


def test_a_mask_resets_some_rows_and_leaves_the_others_to_the_bit(model: Any) -> None:
    envs = batch_of(model)
    envs.reset(seed=7)
    envs.step(ACTIONS[0])
    state = envs.save_state()
    expected = [envs.step(actions)[0] for actions in ACTIONS[1:]]
    envs.restore_state(state)
    mask = np.array([False, True, False])
    frames, infos = envs.reset(seed=20, options={"reset_mask": mask})
    assert infos["_frames"].tolist() == mask.tolist()
    single = OpenEnv(model, menu=MENU)
    assert_close(frames[1], single.reset(seed=21)[0])
    for actions, old in zip(ACTIONS[1:], expected, strict=True):
        frames = envs.step(actions)[0]
        assert np.array_equal(frames[[0, 2]], old[[0, 2]])
        assert_close(frames[1], single.step(actions[1])[0])


def test_rows_begin_with_pictures_of_their_own(model: Any) -> None:
    envs = batch_of(model)
    envs.reset(seed=0)
    pictures = np.random.default_rng(0).integers(0, 255, (3, 1, 32, 48, 3), dtype=np.uint8)
    options = {"init": pictures, "reset_mask": np.array([True, False, True])}
    _, infos = envs.reset(seed=5, options=options)
    single = OpenEnv(model, menu=MENU)
    _, info = single.reset(seed=7, options={"init": pictures[2, 0]})
    assert_close(infos["frames"][2], info["frames"])


def test_next_step_begins_ended_rows_a_step_later(model: Any) -> None:
    envs = batch_of(model, 2, horizon=2)
    envs.reset(seed=0)
    envs.step([0, 0])
    envs.reset(seed=9, options={"reset_mask": np.array([False, True])})
    assert envs.step([1, 1])[3].tolist() == [True, False]
    frames, rewards, _, truncated, infos = envs.step([1, 1])
    assert truncated.tolist() == [False, True]
    assert len(infos["frames"][0]) == 9, "the clip that the new episode begins with"
    assert len(infos["frames"][1]) == 4
    assert infos["prompt"].tolist() == [MENU[0], MENU[1]]
    assert np.array_equal(frames[0], infos["frames"][0][-1])
    assert rewards.tolist() == [0.0, 0.0]


def test_same_step_keeps_the_last_frames_of_ended_rows(model: Any) -> None:
    envs = batch_of(model, 2, horizon=1, autoreset_mode="SAME_STEP")
    envs.reset(seed=0)
    frames, _, _, truncated, infos = envs.step([1, 2])
    assert truncated.all()
    assert infos["final_info"]["prompt"].tolist() == MENU[1:]
    assert np.array_equal(infos["final_obs"][1], infos["final_info"]["frames"][1][-1])
    assert np.array_equal(frames[1], infos["frames"][1][-1])
    assert len(infos["frames"][1]) == 9


def test_a_row_that_is_not_finite_ends_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    envs = batch_of(model, 2, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    monkeypatch.setattr(OpenStreams, "finite", lambda self: torch.tensor([True, False]))
    _, _, terminated, truncated, infos = envs.step([0, 0])
    assert infos["world_fault"].tolist() == truncated.tolist() == [False, True]
    assert not terminated.any()
    with pytest.raises(NotReadyError, match="finished environment"):
        envs.step([0, 0])
    envs.reset(options={"reset_mask": truncated})
    monkeypatch.undo()
    assert not envs.step([0, 0])[3].any()


def test_states_come_back_from_a_file(model: Any, tmp_path: Path) -> None:
    envs = batch_of(model)
    envs.reset(seed=3)
    envs.step(ACTIONS[0])
    torch.save(envs.save_state(), tmp_path / "state.pt")
    expected = envs.step(ACTIONS[1])[0]
    other = batch_of(model)
    other.reset(seed=4)
    other.restore_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert np.array_equal(other.step(ACTIONS[1])[0], expected)
    two = batch_of(model, 2)
    two.reset()
    with pytest.raises(ShapeError, match=r"steps of a saved state does not fit(.|\n)*\(3,\)"):
        two.restore_state(envs.save_state())


@pytest.mark.parametrize("mode", AutoresetMode)
def test_episodes_after_a_restore_are_those_after_the_save(
    model: Any, tmp_path: Path, mode: AutoresetMode
) -> None:
    """The generators go back, too: later episodes begin with the same noise."""
    envs = batch_of(model, 2, horizon=2, autoreset_mode=mode)
    envs.reset(seed=3)
    envs.step([0, 1])
    torch.save(envs.save_state(), tmp_path / "state.pt")

    def later_frames(batch: OpenVectorEnv) -> list[np.ndarray]:
        frames = [batch.step([2, 0])[0]]
        if mode is AutoresetMode.DISABLED:
            frames.append(batch.reset()[0])
        return [*frames, batch.step([1, 1])[0], batch.reset()[0]]

    expected = later_frames(envs)
    assert not np.array_equal(expected[-1], envs.reset()[0]), "episodes differ"
    other = batch_of(model, 2, horizon=2, autoreset_mode=mode)
    other.reset(seed=11)
    for batch in (envs, other):
        batch.restore_state(torch.load(tmp_path / "state.pt", weights_only=True))
        for frames, before in zip(later_frames(batch), expected, strict=True):
            assert np.array_equal(frames, before)


def test_an_ended_row_comes_back_ended(model: Any) -> None:
    envs = batch_of(model, 2, horizon=1)
    envs.reset(seed=0)
    envs.step([0, 1])
    state = envs.save_state()
    expected = envs.step([0, 0])[0]
    other = batch_of(model, 2, horizon=1)
    other.reset(seed=5)
    other.restore_state(state)
    assert np.array_equal(other.step([0, 0])[0], expected), "new episodes"
    same_step = batch_of(model, 2, horizon=1, autoreset_mode="SAME_STEP")
    same_step.reset()
    with pytest.raises(ArgumentError, match="SAME_STEP begins ended rows"):
        same_step.restore_state(state)


def test_a_state_that_cannot_be_used_changes_nothing(model: Any) -> None:
    envs = batch_of(model, 2)
    envs.reset(seed=0)
    envs.step([0, 1])
    state = envs.save_state()
    expected = [envs.step([1, 2])[0], envs.reset()[0]]
    envs.restore_state(state)
    streams = state["streams"]
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({name: value for name, value in state.items() if name != "rngs"}, ShapeError, "rngs"),
        ({**state, "more": 1}, ShapeError, "unknown: 'more'"),
        ({**state, "streams": {"session": {}}}, ShapeError, "missing: decoder, texts"),
        ({**state, "streams": {**streams, "session": {}}}, ShapeError, "missing"),
        ({**state, "streams": {**streams, "texts": {}}}, ArgumentError, "have no text"),
        ({**state, "streams": {**streams, "texts": {0: ""}}}, StreamDiTError, "allowed"),
        ({**state, "streams": {**streams, "decoder": []}}, ShapeError, "decoder"),
        ({**state, "steps": -state["steps"]}, ArgumentError, "out of range"),
        ({**state, "steps": state["steps"] + 100}, ArgumentError, "below the horizon"),
        ({**state, "frames": state["frames"][:, :9]}, ShapeError, "frames"),
        ({**state, "prompts": ["x" * 1001, "y"]}, ArgumentError, "this is no prompt"),
        ({**state, "rngs": [{}, {}]}, ShapeError, "a generator"),
    ]
    for attempt, kind, text in wrong:
        with pytest.raises(kind, match=text):
            envs.restore_state(attempt)
    assert np.array_equal(envs.step([1, 2])[0], expected[0])
    assert np.array_equal(envs.reset()[0], expected[1])


EDITS = int(os.environ.get("STATE_EDITS", "100"))  # 300 in a campaign


@pytest.mark.slow
def test_edited_states_are_refused_and_change_nothing(model: Any) -> None:
    envs = batch_of(model, 2)
    envs.reset(seed=0)
    envs.step([0, 1])
    state = envs.save_state()
    three = batch_of(model)
    three.reset(seed=9)
    other = three.save_state()
    rng = np.random.default_rng(0)
    refused = accepted = 0
    for _ in range(EDITS):
        attempt = edited(state, other, rng)
        try:
            envs.restore_state(attempt)
        except StreamDiTError as error:
            refused += bool(error.allowed and error.remedy)
            assert same(envs.save_state(), state), "an error changes nothing"
        else:
            accepted += 1
            envs.step([2, 2])
            envs.restore_state(state)
    print(f"{refused} refused, {accepted} valid after all")
    assert refused + accepted == EDITS, "every error says what is allowed, and a remedy"
    assert refused > accepted


def test_prompts_are_as_long_as_on_the_page(model: Any) -> None:
    """An open model takes 1,000 characters, in every place where a prompt is given."""
    longest, too_long = "x" * 1000, "x" * 1001
    envs = OpenVectorEnv(2, model=model, prompt=longest)
    assert envs.single_action_space.max_length == 1000
    assert envs.action_space.contains((longest, "a boat"))
    assert not envs.action_space.contains((too_long, "a boat"))
    _, infos = envs.reset(seed=0, options={"prompt": [longest, "a train"]})
    assert infos["prompt"].tolist() == [longest, "a train"]
    _, _, _, _, infos = envs.step([longest, "a train"])
    assert infos["prompt"].tolist() == [longest, "a train"]
    envs.restore_state(envs.save_state())
    with pytest.raises(ActionError, match="1 to 1000 printable characters"):
        envs.step([too_long, "a boat"])
    state = envs.save_state()
    with pytest.raises(ArgumentError, match=r"tokens(.|\n)*say it in fewer words"):
        envs.step(["a boat " * 100, "a boat"])
    assert same(envs.save_state(), state), "nothing is changed"
    with pytest.raises(ArgumentError, match="1 to 1000"):
        envs.reset(options={"prompt": too_long})
    assert OpenVectorEnv(1, model=model, menu=[longest]).menu == (longest,)
    for wrong in ({"menu": [too_long]}, {"prompt": too_long}):
        with pytest.raises(ArgumentError, match="1 to 1000"):
            OpenVectorEnv(1, **{"model": model, **wrong})


def test_what_cannot_be_done_is_told_and_changes_nothing(model: Any) -> None:
    envs = batch_of(model, 2)
    with pytest.raises(NotReadyError, match="step before reset"):
        envs.step([0, 0])
    with pytest.raises(NotReadyError, match="of all environments"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    state = envs.save_state()
    expected = [envs.step([1, 1])[0], envs.reset()[0]]
    envs.reset(seed=0)
    envs.restore_state(state)
    with pytest.raises(ShapeError, match="do not fit"):
        envs.reset(options={"init": np.zeros((2, 4, 32, 48, 3), np.uint8)})
    with pytest.raises(ActionError, match="no such action"):
        envs.step([0, 3])
    with pytest.raises(ArgumentError, match="leave init out"):
        envs.reset(options={"init": "drawn"})
    assert np.array_equal(envs.step([1, 1])[0], expected[0])
    assert np.array_equal(envs.reset()[0], expected[1]), "and the sequences of seeds are whole"
    for wrong in ({"num_envs": 0}, {"horizon": 0}, {"menu": []}):
        with pytest.raises(ArgumentError):
            OpenVectorEnv(**{"model": model, **wrong})
    envs.close()
    with pytest.raises(NotReadyError, match="closed"):
        envs.reset()
