"""Prompts of a file, and the menu actions that they mean."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.generated import small

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.envs.pusht.definition import ACTION_VECTORS, MOVES
from streamdit_gym.envs.worlds import action_vectors_of, move_prompt_of
from streamdit_gym.errors import (
    StreamDiTError,
)
from streamdit_gym.generate.dataset_builder import generate
from streamdit_gym.stream.meaning import Meanings, normalized
from streamdit_gym.world import World


class _Encoder:
    """Gives every text the embedding of the last action prompt that it mentions."""

    def __init__(self, world: World) -> None:
        self.table = world.table

    def encode(self, texts: list[str]) -> tuple[Any, Any, Any]:
        rows = []
        for text in texts:
            named = [row for row, phrase in enumerate(self.table.phrases) if phrase in text.lower()]
            rows.append(max(named, key=lambda row: len(self.table.phrases[row]), default=0))
        return self.table.tokens[rows], self.table.mask[rows], self.table.pooled[rows]


@pytest.fixture
def encoder(tiny_bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.from_pretrained(tiny_bundle)
    make_encoder = partial(_Encoder, world)
    make_encoder.width = 384
    monkeypatch.setattr("streamdit_gym.bundle.stored_prompts.MiniLMEncoder", make_encoder)


def test_text_that_is_no_menu_entry_is_resolved(
    encoder: None, tiny_bundle: str, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    lines = [["Move left", "move  left."], ["kindly move right at once", "move up"], ["move down"]]
    prompts.write_text("".join(json.dumps({"prompts": line}) + "\n" for line in lines))
    config = small(tiny_bundle, episodes=3, policy=str(prompts))
    generate(config, tmp_path / "all")
    dataset = Dataset(tmp_path / "all")
    menu = [ways[0] for ways in dataset.meta["menu"]]
    left, right, up, down = (menu.index(f"move {way}") for way in ("left", "right", "up", "down"))
    assert dataset.shard(0).actions.tolist() == [[left] * 4, [right, up, right, up]]
    assert dataset.shard(1).actions.tolist() == [[down] * 4]
    rows = [
        json.loads(line) for line in (tmp_path / "all" / "manifest.jsonl").read_text().splitlines()
    ]
    assert [row["actions_resolved"] for row in rows] == [False, True, False]
    assert [row["quality"]["menu"] for row in rows] == [1.0, 0.5, 1.0]
    assert rows[0]["prompts"][:2] == ["Move left", "move left."], (
        "what was said stays what was said"
    )
    assert generate(config, tmp_path / "menu", keep_if="menu==1").num_kept == 2


def test_colours_are_no_part_of_a_move() -> None:
    move_prompt = move_prompt_of("PushT-Looks")
    assert move_prompt("a black table; move right") == "move right"
    assert move_prompt("A black table, a yellow T, Move right.") == "Move right."
    assert move_prompt("a black table") == "stay"
    assert move_prompt_of("PushT")("a black table; move right") == "a black table; move right"
    assert move_prompt_of("a world of my own")("go") == "go"


def test_the_menu_is_known_in_any_case_with_or_without_a_full_stop(tiny_world: World) -> None:
    menu = tiny_world.spec.menu
    table: Any = None
    meanings = Meanings(tiny_world.model, tiny_world.starts.latents, menu, table)
    assert normalized(" Move  LEFT. ") == "move left"
    for action, ways in enumerate(menu):
        assert meanings.entry(ways[0].upper() + ".") == action
    assert meanings.entry("wander about") is None


def test_actions_are_vectors_too() -> None:
    names, vectors = action_vectors_of("PushT", [["stay"]] * 9)
    assert names == ["x", "y"]
    assert vectors == [list(vector) for vector in ACTION_VECTORS]
    for move, vector in zip(MOVES, vectors, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(float(any(move)))
        assert np.sign(vector).tolist() == list(move)
    names, vectors = action_vectors_of("a world of my own", [["wait", "stay"], ["go"]])
    assert names == ["wait", "go"]
    assert vectors == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "line",
    [
        '{"prompts": ["' + "x" * 201 + '"]}',
        '{"prompts": [5]}',
        '{"prompts": "stay"}',
        '{"prompts": ["\\ud800"]}',
        "[" * 9999,
        "[1]",
    ],
)
def test_prompts_that_make_no_sense_are_told_with_their_line(
    line: str, tiny_bundle: str, tmp_path: Path
) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompts": ["stay"]}\n' + line + "\n")
    with pytest.raises(StreamDiTError, match=r"prompts\.jsonl, line 2"):
        generate(small(tiny_bundle, policy=str(tmp_path / "prompts.jsonl")), tmp_path / "set")
