"""What `step` takes: menu actions and prompts; anything else changes nothing."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector.utils import batch_space
from support.envs import HANGUL, assert_nothing_changed

from streamdit_gym.checks import check_prompt
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import (
    ActionError,
    ArgumentError,
    ShapeError,
    StreamDiTError,
)
from streamdit_gym.generate.prompt_file import read_prompts
from streamdit_gym.text import prompt_table
from streamdit_gym.text.prompt_table import PromptTable

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.mark.parametrize(
    "actions",
    [
        None,
        "up",
        5,
        [0, 1.0],
        [True, False],
        [0, 10**30],
        [[0], [0, 1]],
        {0: 1},
        [0, 9],
        object(),
        torch.zeros(2),
    ],
    ids=lambda value: str(value).split(" at ")[0],
)
def test_an_action_that_is_none_changes_nothing(
    actions: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(ActionError, match="allowed"):
        envs.step(actions)
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize(
    "action", [None, "up", 1.0, True, [0, 1], [[0], [0, 1]], {}, 9, -1], ids=str
)
def test_a_single_action_that_is_none_is_refused(action: Any, tiny_bundle: str) -> None:
    env = StreamDiTEnv(world=tiny_bundle)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="allowed"):
        env.step(action)


NO_PROMPTS = ["", "   ", "a" * 201, "\ud800", "bell\x07", HANGUL, 5, None, b"move up", ["move up"]]
PROMPTS = [
    "stay",
    "  move\tup ",
    "a" * 200,
    "a" + " " * 300 + "b",
    "gehe nach Süden",
    "上に動かす",
    "왼쪽으로",
]


@pytest.mark.parametrize("text", [*NO_PROMPTS, *PROMPTS], ids=lambda text: repr(text)[:20])
def test_the_action_space_contains_exactly_what_a_step_accepts(text: Any, tiny_bundle: str) -> None:
    pytest.importorskip("transformers")
    env = StreamDiTEnv(world=tiny_bundle, actions="text")
    env.reset(seed=0)
    if env.action_space.contains(text):
        assert env.step(text)[-1]["prompt"] == check_prompt(text)
    else:
        with pytest.raises(ActionError, match="allowed"):
            env.step(text)
    assert env.action_space.contains(text) == (text in PROMPTS)


@pytest.mark.parametrize(
    "texts",
    [
        "up",
        ["stay"],
        ["stay", 5],
        ["stay", "\ud800"],
        {"stay": 1, "up": 2},
        None,
        [["a"], ["b", "c"]],
    ],
)
def test_prompts_of_a_batch_come_in_a_list(texts: Any, tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(2, world=tiny_bundle, actions="text")
    env.reset(seed=0)
    with pytest.raises(ActionError, match="2 strings"):
        env.step(texts)
    env.step(np.array(["stay", "move up"]))


def test_the_space_of_prompts_is_a_space_like_gymnasiums() -> None:
    space = PromptSpace(seed=0)
    assert all(space.contains(space.sample()) for _ in range(200))
    assert space.contains(
        space.sample(mask=(3, np.array([c == " " for c in space.character_list], np.int8)))
    )
    assert space.max_length == 200
    for duplicate in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert duplicate == space
        assert duplicate.contains("nach links")
        assert duplicate.sample() == copy.deepcopy(space).sample()
    assert space != gymnasium.spaces.Text(200, charset=space.character_set)
    batch = batch_space(space, 3)
    assert batch.contains(("上に", "b", "c"))
    assert not batch.contains(("a", "b", ""))
    assert batch.contains(batch.sample())


def test_longer_prompts_are_taken_and_not_sampled() -> None:
    space = PromptSpace(seed=0, most=1000)
    assert space.contains("x" * 1000)
    assert not space.contains("x" * 1001)
    assert not PromptSpace().contains("x" * 201)
    letters = np.array([c.isalpha() for c in space.character_list], np.int8)
    samples = [space.sample() for _ in range(100)]
    samples += [space.sample(mask=(None, letters)) for _ in range(100)]
    samples += [space.sample(probability=(None, letters / letters.sum())) for _ in range(100)]
    assert 150 < max(map(len, samples)) <= 200, "as many tokens as any model takes"
    assert len(space.sample(mask=(900, None))) == 900
    assert space != PromptSpace()
    for duplicate in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert duplicate == space
        assert duplicate.contains("x" * 1000)
    assert batch_space(space, 2).contains(("x" * 1000, "y"))


def test_minari_can_write_the_space_of_prompts() -> None:
    serialization = pytest.importorskip("minari.serialization")
    again = serialization.deserialize_space(serialization.serialize_space(PromptSpace()))
    assert again.max_length == 200
    assert again.contains("move up and to the left!")


def test_no_prompt_is_cut() -> None:
    pytest.importorskip("transformers")
    from streamdit_gym.text.prompt_encoder import MiniLMEncoder

    encoder = MiniLMEncoder()
    long = "please, " * 22 + "move "
    _, mask, pooled = encoder.encode([long + "left", long + "right", "!" * 200])
    assert mask.sum(1).max() == 202, "one for each character, and two that frame the text"
    assert not torch.equal(pooled[0], pooled[1]), "the last word counts"
    with pytest.raises(ArgumentError, match="tokens"):
        encoder.encode(["stay", HANGUL])


class LongWords:
    """An encoder that makes a token of every character."""

    name = "long"
    width = 4

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = max(map(len, texts))
        mask = torch.tensor([[i < len(text) for i in range(longest)] for text in texts])
        return torch.ones(len(texts), longest, 4) * mask[..., None], mask, torch.ones(len(texts), 4)


def test_a_long_prompt_makes_no_table_that_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_table, "MAX_TABLE_TOKENS", 1000)
    table = PromptTable.from_encoder(LongWords(), ["stay"])  # type: ignore[arg-type]
    table.rows([f"{i:04d}" for i in range(19)])
    with pytest.raises(ShapeError, match="too many distinct prompts"):
        table.rows(["x" * 50])
    assert len(table.phrases) == 20, "nothing was changed"
    table.rows(["x" * 47])
    assert table.room == 0, "for one of 512 tokens"
    assert table.only(["stay"]).tokens.shape == (1, 4, 4), "what was longer leaves no trace"


def test_a_file_of_prompts_has_the_same_limit(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    for text in NO_PROMPTS:
        if isinstance(text, str):
            path.write_text(json.dumps({"prompts": ["stay", text]}) + "\n")
            with pytest.raises(StreamDiTError, match="line 1"):
                read_prompts(path)
    path.write_text(json.dumps({"prompts": PROMPTS}) + "\n")
    assert read_prompts(path) == [[check_prompt(text) for text in PROMPTS]]
