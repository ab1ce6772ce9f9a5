"""A stream that is steered while it runs, in Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from streamdit_gym import World
from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError, UnknownNameError
from streamdit_gym.live import Live, stream
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise


def pictures(live: Live, *said: str) -> np.ndarray:
    made = []
    for text in said:
        live.say(text)
        made += [shown.picture for shown in live.move()]
    return np.stack(made)


def test_a_stream_is_the_engine_with_text(world: World) -> None:
    live = Live(world, seed=3, partition="K4N2c1s1")  # where noise shows
    said = ["move up", "move up", "move left", "stay"]
    rng = np.random.default_rng(3)
    start = world.starts.latents[int(rng.integers(len(world.starts.latents)))][None, None]
    cut = partition("K4N2c1s1")
    engine = Engine(world.model_for(cut), world.table, cut, idle=int(world.table.rows(["stay"])[0]))
    session = engine.start(start, torch.full((1, 1), -1), Noise.of([rng]))
    slow = np.concatenate(
        [
            world.codec.decode(engine.tick(session, world.table.rows([text])))[0].numpy()
            for text in said
        ]
    )
    assert np.array_equal(pictures(live, *said), slow)
    assert live.number == 4


def test_frames_carry_the_prompt_they_were_born_with_and_the_buffer_shows_it(world: World) -> None:
    live = Live(world, partition="K4N3c1s1")
    assert [slot.done for slot in live.buffer()] == pytest.approx([2 / 3, 1 / 3])
    live.say("move up")
    first = live.move()[0]
    assert first.prompt == "stay"
    assert [slot.prompt for slot in live.buffer()] == ["stay", "move up"]
    assert live.delay == 2
    live.move()
    assert live.move()[0].prompt == "move up"
    live.set(scope="buffer")
    assert live.delay == 0
    live.say("move left")
    assert live.move()[0].prompt == "move left"


def test_a_soft_transition_goes_from_one_prompt_to_the_other(world: World) -> None:
    live = Live(world, transition=3)
    live.say("move up")
    told = [live.move()[0].prompt for _ in range(5)]
    assert [text.split(" of ")[0] for text in told[:3]] == ["0.250", "0.500", "0.750"]
    assert told[3:] == ["move up", "move up"]
    table = live.table
    row = table.between("stay", "move up", 0.25)
    a, b = table.rows(["stay", "move up"]).tolist()
    assert torch.allclose(table.pooled[row], 0.75 * table.pooled[a] + 0.25 * table.pooled[b])
    assert table.between("stay", "move up", 0.25) == row
    assert len(world.table.phrases) < len(table.phrases), (
        "what is said in a stream is not kept in the world"
    )


def test_saving_and_restoring_brings_the_same_frames_back_with_the_twin(world: World) -> None:
    live = Live(world, twin=True, partition="pipelined")
    pictures(live, *["move left"] * 6)
    state = live.state()

    def go_on(stream: Live) -> list[Any]:
        stream.say("move down")
        return [shown for _ in range(5) for shown in stream.move()]

    branch = live.branch()
    first, other = go_on(live), go_on(branch)
    live.set(partition="reactive", scope="buffer", transition=2)
    go_on(live)
    live.restore(state)
    again = go_on(live)
    for shown in (other, again):
        for a, b in zip(first, shown, strict=True):
            assert np.array_equal(a.picture, b.picture)
            assert a.twin is not None
            assert b.twin is not None
            assert np.array_equal(a.twin, b.twin)
            assert (a.number, a.prompt, a.scores) == (b.number, b.prompt, b.scores)
    assert live.partition == partition("pipelined")
    live.close()
    branch.close()


def test_the_twin_begins_where_the_stream_begins_and_takes_free_text_for_the_nearest_phrase(
    world: World,
) -> None:
    pytest.importorskip("transformers")
    live = Live(world, twin=True, seed=5)
    shown = live.move()[0]
    assert shown.twin is not None
    assert np.abs(shown.twin.astype(int) - shown.picture).mean() < 6
    live.say("scoot over to the right")
    assert live.move()[0].understood == "move right"
    means = ["up and to the left", "toward the bottom", "don't go anywhere", "scoot left"]
    assert [live.menu[live.understood(text)] for text in means] == [
        "move up left",
        "move down",
        "stay",
        "move left",
    ]
    live.begin(5, np.full((64, 64, 3), 255, np.uint8))
    assert live.move()[0].twin is None, "a simulator cannot begin from a picture"


def test_a_moment_before_the_table_was_cleared_comes_back(world: World) -> None:
    live, other = Live(world), Live(world)
    before = live.state()
    live.table._most = len(live.table.phrases) + 33
    for i in range(2):  # rows that the table of the saved moment does not have
        live.table.between("move up", "move left", 0.1 * (i + 1))
    live.say("move left")
    assert live.table is not before["table"]
    live.move()
    live.restore(before)
    frames = [pictures(each, "move up", "stay").astype(int) for each in (live, other)]
    assert np.abs(frames[0] - frames[1]).max() <= 2
    live.table = other.table.only(["stay", "move up"])
    live.prompt = "move up"
    live._session.reference_prompts.fill_(-1)
    live._restart(live._make_engine(live.partition, live.scope))
    small = live.state()
    other.say("move down left")
    other.move()
    other.restore(small)
    assert np.array_equal(pictures(other, "move up", "stay"), pictures(live, "move up", "stay"))


def test_the_twin_of_a_long_stream_comes_back_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamdit_gym.envs.pusht import simulator as pusht

    monkeypatch.setattr(pusht, "MAX_REPLAYED_ACTIONS", 6)
    live = Live(world, twin=True)
    pictures(live, *["move left"] * 9, *["move up"] * 9)
    state = live.state()
    assert state["simulator"][1] == [], "nothing to play again"
    first = [shown.twin for _ in range(4) for shown in live.move()]
    live.begin(9)
    live.restore(state)
    assert np.array_equal([shown.twin for _ in range(4) for shown in live.move()], first)
    live.close()


def test_a_new_partition_goes_on_from_the_same_frames(world: World) -> None:
    live = Live(world)
    before = pictures(live, *["move up"] * 4)[-1].astype(int)
    live.set(partition="K4N2c1s2")
    after = pictures(live, "stay")[0].astype(int)
    assert np.abs(after - before).mean() < 4


def test_a_full_table_forgets_what_is_out_of_use_and_the_stream_goes_on(world: World) -> None:
    live, other = Live(world), Live(world)
    live.table._most = len(live.table.phrases) + 34
    for stream_of, shares in ((live, 3), (other, 0)):
        stream_of.say("move up")
        stream_of.move()
        for i in range(shares):
            stream_of.table.between("move up", "move left", 0.1 * (i + 1))
    frames = [pictures(each, "move left", "move left") for each in (live, other)]
    assert len(live.table.phrases) < len(world.table.phrases) + 3
    assert np.abs(frames[0].astype(int) - frames[1]).max() <= 2
    assert live.prompt == "move left"


def test_the_generator_asks_for_the_newest_prompt_before_each_chunk(world: World) -> None:
    newest = "move up"
    frames = stream(world, lambda: newest, seed=1)
    assert next(frames).prompt == "move up"
    newest = "move down"
    assert next(frames).prompt == "move down"
    frames.close()
    assert [shown.prompt for shown in stream(world, ["move up", "move left"])] == [
        "move up",
        "move left",
    ]


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        (lambda live: live.say("  "), ArgumentError, "1 to 200"),
        (lambda live: live.say("a" * 201), ArgumentError, "1 to 200"),
        (lambda live: live.say("move up \ud800"), ArgumentError, "surrogates"),
        (lambda live: live.say(5), ArgumentError, "a text"),
        (lambda live: live.set(partition="K9N1c1s1"), PartitionError, "1 to 4"),
        (lambda live: live.set(scope="frame"), UnknownNameError, "buffer, chunk"),
        (lambda live: live.set(transition=99), ArgumentError, "0 to 32"),
        (lambda live: live.set(transition=1.5), ArgumentError, "whole number"),
        (lambda live: live.begin("3"), ArgumentError, "seed"),
        (lambda live: live.begin(start=[[0]]), ShapeError, "resize"),
        (
            lambda live: live.begin(start=np.zeros((64, 64, 4), np.uint8)),
            ShapeError,
            "without transparency",
        ),
        (lambda live: live.begin(start=np.zeros((32, 32, 3), np.uint8)), ShapeError, "resize"),
    ],
)
def test_bad_settings_change_nothing(
    wrong: Callable[[Live], None], kind: type[Exception], said: str, world: World
) -> None:
    live, other = Live(world), Live(world)
    with pytest.raises(kind, match=said):
        wrong(live)
    assert np.array_equal(
        pictures(live, "move up", "move up"), pictures(other, "move up", "move up")
    )


def test_a_start_frame_may_be_read_only_and_is_not_kept(world: World) -> None:
    frame = world.codec.decode(world.starts.latents[:1, None])[0, 0].numpy()
    frame.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        live, other = Live(world, start=frame), Live(world, start=np.array(frame)[:, ::-1][:, ::-1])
    assert np.array_equal(pictures(live, "move up"), pictures(other, "move up"))


def test_a_full_table_ends_a_blend_and_not_the_stream(world: World) -> None:
    live = Live(world, transition=8)
    live.say("move up")
    live.table._most = len(live.table.phrases) + 2
    assert [shown.prompt.split(" of ")[0] for _ in range(4) for shown in live.move()] == [
        "0.111",
        "0.222",
        "move up",
        "move up",
    ]


def test_a_new_start_keeps_the_prompt_in_all_of_the_buffer(world: World) -> None:
    live = Live(world, partition="pipelined")
    live.say("move left")
    live.begin(1)
    assert {slot.prompt for slot in live.buffer()} == {"move left"}
