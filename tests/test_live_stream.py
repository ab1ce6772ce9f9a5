"""A stream that is steered while it runs, in Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from streamdit_gym import World
from streamdit_gym import live as live_package
from streamdit_gym.errors import ArgumentError, PartitionError, ShapeError, UnknownNameError
from streamdit_gym.live import LiveStream, stream
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise


def generate(live: LiveStream, *prompts: str) -> np.ndarray:
    """Return the images of one step for each prompt."""
    images = []
    for prompt in prompts:
        live.set_prompt(prompt)
        images += [frame.image for frame in live.step()]
    return np.stack(images)


def test_a_stream_is_the_engine_with_text(world: World) -> None:
    live = LiveStream(world, seed=3, partition="K4N2c1s1")  # where noise shows
    prompts = ["move up", "move up", "move left", "stay"]
    rng = np.random.default_rng(3)
    start = world.starts.latents[int(rng.integers(len(world.starts.latents)))][None, None]
    two_chunks = partition("K4N2c1s1")
    idle = int(world.table.rows(["stay"])[0])
    engine = Engine(world.model_for(two_chunks), world.table, two_chunks, idle=idle)
    session = engine.start(start, torch.full((1, 1), -1), Noise.of([rng]))
    expected = np.concatenate(
        [
            world.codec.decode(engine.tick(session, world.table.rows([text])))[0].numpy()
            for text in prompts
        ]
    )
    assert np.array_equal(generate(live, *prompts), expected)
    assert live.frame_count == 4


def test_frames_and_buffer_slots_carry_their_prompts(world: World) -> None:
    live = LiveStream(world, partition="K4N3c1s1")
    assert [slot.progress for slot in live.buffer_slots()] == pytest.approx([2 / 3, 1 / 3])
    live.set_prompt("move up")
    first = live.step()[0]
    assert first.prompt == "stay"
    assert [slot.prompt for slot in live.buffer_slots()] == ["stay", "move up"]
    assert live.prompt_delay == 2
    live.step()
    assert live.step()[0].prompt == "move up"
    live.configure(prompt_scope="buffer")
    assert live.prompt_delay == 0
    live.set_prompt("move left")
    assert live.step()[0].prompt == "move left"


def test_a_soft_transition_goes_from_one_prompt_to_the_other(world: World) -> None:
    live = LiveStream(world, transition=3)
    live.set_prompt("move up")
    prompts = [live.step()[0].prompt for _ in range(5)]
    assert [text.split(" of ")[0] for text in prompts[:3]] == ["0.250", "0.500", "0.750"]
    assert prompts[3:] == ["move up", "move up"]
    table = live.table
    row = table.between("stay", "move up", 0.25)
    a, b = table.rows(["stay", "move up"]).tolist()
    assert torch.allclose(table.pooled[row], 0.75 * table.pooled[a] + 0.25 * table.pooled[b])
    assert table.between("stay", "move up", 0.25) == row
    assert len(world.table.phrases) < len(table.phrases), (
        "prompts of a stream do not fill the table of the world"
    )


def test_saving_and_restoring_brings_the_same_frames_back_with_the_simulator(world: World) -> None:
    live = LiveStream(world, reference_simulator=True, partition="pipelined")
    generate(live, *["move left"] * 6)
    state = live.save_state()

    def run_on(stream: LiveStream) -> list[Any]:
        stream.set_prompt("move down")
        return [frame for _ in range(5) for frame in stream.step()]

    branch = live.branch()
    first, other = run_on(live), run_on(branch)
    live.configure(partition="reactive", prompt_scope="buffer", transition=2)
    run_on(live)
    live.restore_state(state)
    again = run_on(live)
    for frames in (other, again):
        for a, b in zip(first, frames, strict=True):
            assert np.array_equal(a.image, b.image)
            assert a.simulator_image is not None
            assert b.simulator_image is not None
            assert np.array_equal(a.simulator_image, b.simulator_image)
            assert (a.number, a.prompt, a.readout) == (b.number, b.prompt, b.readout)
    assert live.partition == partition("pipelined")
    live.close()
    branch.close()


def test_the_simulator_starts_with_the_stream_and_executes_the_action_nearest_to_free_text(
    world: World,
) -> None:
    pytest.importorskip("transformers")
    live = LiveStream(world, reference_simulator=True, seed=5)
    frame = live.step()[0]
    assert frame.simulator_image is not None
    assert np.abs(frame.simulator_image.astype(int) - frame.image).mean() < 6
    live.set_prompt("scoot over to the right")
    assert live.step()[0].simulator_action == "move right"
    means = ["up and to the left", "toward the bottom", "don't go anywhere", "scoot left"]
    assert [live.menu[live.nearest_action(text)] for text in means] == [
        "move up left",
        "move down",
        "stay",
        "move left",
    ]
    live.reset(5, np.full((64, 64, 3), 255, np.uint8))
    assert live.step()[0].simulator_image is None, "a simulator cannot start from a picture"


def test_a_moment_before_the_table_was_cleared_comes_back(world: World) -> None:
    live = LiveStream(world)
    other = LiveStream(world)
    before = live.save_state()
    live.table._most = len(live.table.phrases) + 33
    for i in range(2):  # rows that the table of the saved moment does not have
        live.table.between("move up", "move left", 0.1 * (i + 1))
    live.set_prompt("move left")
    assert live.table is not before.table
    live.step()
    live.restore_state(before)
    frames = [generate(each, "move up", "stay").astype(int) for each in (live, other)]
    assert np.abs(frames[0] - frames[1]).max() <= 2
    live.table = other.table.only(["stay", "move up"])
    live.prompt = "move up"
    live._session.reference_prompts.fill_(-1)
    live._continue_in(live._make_engine(live.partition, live.prompt_scope))
    small = live.save_state()
    other.set_prompt("move down left")
    other.step()
    other.restore_state(small)
    assert np.array_equal(generate(other, "move up", "stay"), generate(live, "move up", "stay"))


def test_the_simulator_of_a_long_stream_comes_back_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamdit_gym.envs.pusht import simulator as pusht

    monkeypatch.setattr(pusht, "MAX_REPLAYED_ACTIONS", 6)
    live = LiveStream(world, reference_simulator=True)
    generate(live, *["move left"] * 9, *["move up"] * 9)
    state = live.save_state()
    assert state.simulator[1] == [], "nothing to play again"
    first = [frame.simulator_image for _ in range(4) for frame in live.step()]
    live.reset(9)
    live.restore_state(state)
    assert np.array_equal([frame.simulator_image for _ in range(4) for frame in live.step()], first)
    live.close()


def test_a_new_partition_goes_on_from_the_same_frames(world: World) -> None:
    live = LiveStream(world)
    before = generate(live, *["move up"] * 4)[-1].astype(int)
    live.configure(partition="K4N2c1s2")
    after = generate(live, "stay")[0].astype(int)
    assert np.abs(after - before).mean() < 4


def test_a_full_table_forgets_what_is_out_of_use_and_the_stream_goes_on(world: World) -> None:
    live = LiveStream(world)
    other = LiveStream(world)
    live.table._most = len(live.table.phrases) + 34
    for each, num_mixtures in ((live, 3), (other, 0)):
        each.set_prompt("move up")
        each.step()
        for i in range(num_mixtures):
            each.table.between("move up", "move left", 0.1 * (i + 1))
    frames = [generate(each, "move left", "move left") for each in (live, other)]
    assert len(live.table.phrases) < len(world.table.phrases) + 3
    assert np.abs(frames[0].astype(int) - frames[1]).max() <= 2
    assert live.prompt == "move left"


def test_the_iterator_asks_for_the_newest_prompt_before_each_chunk(world: World) -> None:
    newest = "move up"
    frames = stream(world, lambda: newest, seed=1)
    assert next(frames).prompt == "move up"
    newest = "move down"
    assert next(frames).prompt == "move down"
    frames.close()
    assert [frame.prompt for frame in stream(world, ["move up", "move left"])] == [
        "move up",
        "move left",
    ]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda live: live.set_prompt("  "), ArgumentError, "1 to 200"),
        (lambda live: live.set_prompt("a" * 201), ArgumentError, "1 to 200"),
        (lambda live: live.set_prompt("move up \ud800"), ArgumentError, "surrogates"),
        (lambda live: live.set_prompt(5), ArgumentError, "a text"),
        (lambda live: live.configure(partition="K9N1c1s1"), PartitionError, "1 to 4"),
        (lambda live: live.configure(prompt_scope="frame"), UnknownNameError, "buffer, chunk"),
        (lambda live: live.configure(transition=99), ArgumentError, "0 to 32"),
        (lambda live: live.configure(transition=1.5), ArgumentError, "whole number"),
        (lambda live: live.reset("3"), ArgumentError, "seed"),
        (lambda live: live.reset(start_frame=[[0]]), ShapeError, "resize"),
        (
            lambda live: live.reset(start_frame=np.zeros((64, 64, 4), np.uint8)),
            ShapeError,
            "without transparency",
        ),
        (
            lambda live: live.reset(start_frame=np.zeros((32, 32, 3), np.uint8)),
            ShapeError,
            "resize",
        ),
    ],
)
def test_bad_settings_change_nothing(
    call: Callable[[LiveStream], None], error: type[Exception], text: str, world: World
) -> None:
    live = LiveStream(world)
    other = LiveStream(world)
    with pytest.raises(error, match=text):
        call(live)
    assert np.array_equal(
        generate(live, "move up", "move up"), generate(other, "move up", "move up")
    )


def test_a_start_frame_may_be_read_only_and_is_not_kept(world: World) -> None:
    frame = world.codec.decode(world.starts.latents[:1, None])[0, 0].numpy()
    frame.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        live = LiveStream(world, start_frame=frame)
        other = LiveStream(world, start_frame=np.array(frame)[:, ::-1][:, ::-1])
    assert np.array_equal(generate(live, "move up"), generate(other, "move up"))


def test_a_full_table_ends_a_blend_and_not_the_stream(world: World) -> None:
    live = LiveStream(world, transition=8)
    live.set_prompt("move up")
    live.table._most = len(live.table.phrases) + 2
    assert [frame.prompt.split(" of ")[0] for _ in range(4) for frame in live.step()] == [
        "0.111",
        "0.222",
        "move up",
        "move up",
    ]


def test_a_new_start_keeps_the_prompt_in_all_of_the_buffer(world: World) -> None:
    live = LiveStream(world, partition="pipelined")
    live.set_prompt("move left")
    live.reset(1)
    assert {slot.prompt for slot in live.buffer_slots()} == {"move left"}


def test_former_names_still_work_with_a_warning(world: World) -> None:
    with pytest.warns(DeprecationWarning, match="is now called") as warned:
        live = live_package.Live(world, scope="buffer", twin=False)
    assert [str(each.message).split("'")[-2] for each in warned] == [
        "LiveStream",
        "prompt_scope",
        "reference_simulator",
    ]
    with pytest.deprecated_call(match="set_prompt"):
        live.say("move up")
    with pytest.deprecated_call(match="step"):
        frame = live.move()[0]
    with pytest.deprecated_call(match="image"):
        assert frame.picture is frame.image
    with pytest.deprecated_call(match="StreamFrame"):
        assert isinstance(frame, live_package.Shown)
    with pytest.deprecated_call(match="buffer_slots"):
        assert live.buffer() == []
    assert live.prompt_scope == "buffer"
    with pytest.raises(AttributeError, match="no attribute 'speed'"):
        _ = live.speed
