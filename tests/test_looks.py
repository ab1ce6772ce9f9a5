"""PushT in many colours: what is said and what is seen agree,
and what is held back stays unseen.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.episode import all_phrases
from streamdit_gym.data.recorder import RecordConfig, record, record_shard
from streamdit_gym.definition import HasBaseFrame, HearsDescriptions
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.envs.pusht_looks.appearance import APPEARANCE_EVALUATION, shows_appearance
from streamdit_gym.envs.pusht_looks.definition import SPEC
from streamdit_gym.envs.pusht_looks.palette import (
    COLOURS,
    PUSHT_APPEARANCE,
    THINGS,
    UNSEEN_APPEARANCES,
)
from streamdit_gym.envs.pusht_looks.phrases import (
    COLOUR_PHRASES,
    NUM_COLOUR_PHRASES,
    colour_phrase,
)
from streamdit_gym.envs.pusht_looks.simulator import PushTLooksSimulator
from streamdit_gym.envs.pusht_looks.world import WORLD
from streamdit_gym.errors import DatasetError, UnknownNameError
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.metrics.unseen_appearance import appearance_metrics
from streamdit_gym.evaluate.schema import AppearanceMetrics
from streamdit_gym.registry import world_definition

pytest.importorskip("gym_pusht")


def test_colours_in_words() -> None:
    assert colour_phrase({"T": "red", "table": "black"}) == "a red T, a black table"
    assert colour_phrase({"goal": "pink"}, template=2) == "its goal in pink"


def test_in_its_own_colours_it_is_pusht_pixel_by_pixel() -> None:
    painted, plain = PushTLooksSimulator(), PushTSimulator()
    for simulator_start in ("uniform", "near_goal", "anywhere"):
        a, b = (
            simulator.reset(np.random.default_rng(3), simulator_start)
            for simulator in (painted, plain)
        )
        assert (a == b).all()
        for action in (1, 2, 5, 7):
            assert (painted.step(action) == plain.step(action)).all()


def test_things_wear_what_they_are_painted_with_and_nothing_else() -> None:
    simulator = PushTLooksSimulator()
    for number, look in enumerate(UNSEEN_APPEARANCES[:20]):
        simulator.reset(np.random.default_rng(number))
        simulator.paint(look)
        frame = simulator.step(0)[None]
        assert all(found[0] != 0 for found in shows_appearance(frame, look).values())
        other = dict(zip(THINGS, [look[thing] for thing in (*THINGS[1:], THINGS[0])], strict=True))
        assert not any(
            shows_appearance(frame, other)[thing][0] == 1 for thing in ("table", "goal", "pusher")
        )
    assert not shows_appearance(np.full((1, 64, 64, 3), 255, np.uint8), PUSHT_APPEARANCE)["T"][0]


def test_the_training_data_say_what_they_show_and_never_show_what_is_held_back() -> None:
    spoken = all_phrases(SPEC)
    shard = record_shard(WORLD, RecordConfig(episodes=6, steps=40), 3)
    held_back = UNSEEN_APPEARANCES
    colours_of = {
        text: thing_colours(text)
        for text in {spoken[i].split("; ")[0] for i in shard.prompts.ravel() if ";" in spoken[i]}
    }
    assert len(colours_of) > 10
    for episode, prompts in zip(shard.frames, shard.prompts, strict=True):
        for after, number in zip(episode[1:], prompts, strict=True):
            text = spoken[number]
            if ";" in text:
                for thing, colour in colours_of[text.split("; ")[0]].items():
                    others = dict.fromkeys(THINGS, colour)
                    if thing in (
                        "table",
                        "pusher",
                    ):  # the T may hide the goal, and be cut off by the edge
                        assert shows_appearance(after[None], others)[thing][0], text
        looks = [
            look
            for look in held_back
            if all(found[0] == 1 for found in shows_appearance(episode[:1], look).values())
        ]
        assert not looks


def thing_colours(text: str) -> dict[str, str]:
    return {
        next(thing for thing in THINGS if any(word in part.split() for word in words(thing))): next(
            c for c in COLOURS if c in part.split()
        )
        for part in text.split(", ")
    }


def words(thing: str) -> tuple[str, ...]:
    return {"T": ("T", "block"), "pusher": ("pusher", "dot")}.get(thing, (thing,))


def test_the_same_seed_makes_the_same_data() -> None:
    a, b = (record_shard(WORLD, RecordConfig(episodes=2, steps=12), 1) for _ in range(2))
    assert (a.frames == b.frames).all()
    assert (a.prompts == b.prompts).all()


def test_four_things_always_differ_in_colour() -> None:
    simulator = PushTLooksSimulator()
    rng = np.random.default_rng(0)
    simulator.reset(rng, "painted")
    for _ in range(200):
        simulator.step(simulator.explore(rng))
        assert len(set(simulator.appearance.values())) == len(THINGS)
        assert simulator.appearance not in UNSEEN_APPEARANCES


def test_colours_are_saved_and_restored() -> None:
    simulator = PushTLooksSimulator()
    simulator.reset(np.random.default_rng(0))
    simulator.paint({"T": "red"})
    simulator.step(1)
    saved = simulator.save()
    red = [simulator.step(a) for a in (2, 3)]
    simulator.paint({"T": "pink"})
    pink = simulator.step(4)
    assert shows_appearance(pink[None], PUSHT_APPEARANCE | {"T": "pink"})["T"][0] == 1
    simulator.restore(saved)
    assert simulator.appearance["T"] == "red"
    assert all((simulator.step(a) == frame).all() for a, frame in zip((2, 3), red, strict=True))


@pytest.mark.parametrize("look", [{"moon": "red"}, {"T": "mauve"}])
def test_unknown_things_and_colours_are_refused(look: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match=r"moon|mauve"):
        PushTLooksSimulator().paint(look)


def test_held_back_looks_are_whole_and_all_different() -> None:
    looks = [tuple(look[thing] for thing in THINGS) for look in UNSEEN_APPEARANCES]
    assert len(set(looks)) == len(looks) == 200
    assert all(a != b for look in looks for a, b in itertools.combinations(look, 2))


class Painter:
    """A world that puts a look on when it is said, and keeps it for so many frames."""

    spec = SPEC

    def __init__(self, kept: int) -> None:
        self.kept = kept

    def roll_out(self, context: np.ndarray, said: list[list[str]], seed: int = 0) -> Any:
        looks = {colour_phrase(look): look for look in UNSEEN_APPEARANCES}
        simulator, rows = PushTLooksSimulator(), []
        for number, line in enumerate(said):
            simulator.reset(np.random.default_rng(number))
            simulator.paint(looks[line[0].split("; ")[0]])
            frames = []
            for step, text in enumerate(line):
                if step == self.kept:
                    simulator.paint(PUSHT_APPEARANCE)
                frames.append(
                    simulator.step(
                        next(
                            a for a, menu in enumerate(SPEC.menu) if text.split("; ")[-1] == menu[0]
                        )
                    )
                )
            rows.append(np.stack(frames))
        return SimpleNamespace(frames=np.stack(rows))


def test_the_evaluation_tells_whether_an_unseen_appearance_shows_and_stays() -> None:
    reference = world_definition("PushT-Looks").for_evaluation()
    assert reference.evaluation.appearance is APPEARANCE_EVALUATION
    plan = RecordConfig(episodes=8, steps=16, seed=4)
    held_out = record_shard(reference, plan, 0)
    plain = shows_appearance(held_out.frames[:, 0], PUSHT_APPEARANCE)
    assert all(np.nanmin(rates) == 1 for rates in plain.values())

    def measure(kept_frames: int) -> AppearanceMetrics:
        context = EvaluationContext(
            candidate=Painter(kept_frames),  # type: ignore[arg-type]
            reference=reference,
            held_out=held_out,
            models=None,  # type: ignore[arg-type]
        )
        metrics = appearance_metrics(context)
        assert metrics is not None
        return metrics

    faithful = measure(99).rates
    assert faithful["all_after_1"].value == 1
    assert faithful["all_after_16"].value > 0.8
    forgetful = measure(4).rates
    assert forgetful["all_after_4"].value > 0.8
    assert forgetful["all_after_16"].value == 0
    assert forgetful["table_after_16"].value < 0.2


@pytest.mark.parametrize(
    ("text", "worn", "rest"),
    [
        (
            "a red T, a black table; the pusher moves left",
            {"T": "red", "table": "black"},
            "the pusher moves left",
        ),
        ("the block turns pink; stay", {"T": "pink"}, "stay"),
        ("on a yellow table", {"table": "yellow"}, SPEC.menu[0][0]),
        ("Its goal in WHITE; go up", {"goal": "white"}, "go up"),
        ("push the red block left", {}, "push the red block left"),
        ("move right", {}, "move right"),
        ("a mauve T; move right", {}, "a mauve T; move right"),
    ],
)
def test_the_simulator_hears_colours_and_leaves_the_move(
    text: str, worn: dict[str, str], rest: str
) -> None:
    simulator = PushTLooksSimulator()
    assert simulator.parse_prompt(text) == rest
    assert simulator.appearance == PUSHT_APPEARANCE | worn
    assert not isinstance(PushTSimulator(), HearsDescriptions)


def test_everything_that_is_recorded_is_heard_as_it_was_meant() -> None:
    for number in range(0, NUM_COLOUR_PHRASES, 7):
        simulator = PushTLooksSimulator()
        phrase = COLOUR_PHRASES[number]
        assert simulator.parse_prompt(f"{phrase.text}; move left") == "move left"
        assert simulator.appearance == PUSHT_APPEARANCE | phrase.appearance


def test_painted_frames_are_recorded_in_plain_colours_too(tmp_path: Path) -> None:
    painted = replace(WORLD, starts={"painted": 1.0})
    record(painted, tmp_path, RecordConfig(shards=1, episodes=2, steps=12))
    dataset = Dataset(tmp_path)
    plain, frames = dataset.base_frames(0), dataset.shard(0).frames
    assert plain.shape == frames.shape
    assert (plain != frames).any()
    assert all(
        np.nanmin(found) == 1
        for found in shows_appearance(plain.reshape(-1, 64, 64, 3), PUSHT_APPEARANCE).values()
    )
    simulator = PushTSimulator()
    simulator.reset(np.random.default_rng(0))
    assert not isinstance(simulator, HasBaseFrame)
    (tmp_path / "plain" / "shard-00000.mkv").unlink()
    with pytest.raises(DatasetError, match="without adapt_autoencoder"):
        dataset.base_frames(0)


def test_the_shipped_world_puts_on_looks_it_has_never_seen_and_keeps_them() -> None:
    pytest.importorskip("transformers")
    looks = UNSEEN_APPEARANCES[:16]
    envs = gymnasium.make_vec("StreamDiT/PushT-Looks-v0", num_envs=16, actions="text")
    envs.reset(seed=3)
    frames = [envs.step(tuple(f"{colour_phrase(look)}; move left" for look in looks))[0]]
    frames += [
        envs.step((move,) * 16)[0] for move in ("move up", "move right", "stay") for _ in range(8)
    ]
    for shown in (frames[0], frames[-1]):
        worn = {
            thing: [
                shows_appearance(frame[None], look)[thing][0]
                for frame, look in zip(shown, looks, strict=True)
            ]
            for thing in THINGS
        }
        for thing, found in worn.items():
            assert np.nanmean(found) > 0.7, (thing, found)
    envs.close()


def test_the_shipped_world_moves_what_it_paints() -> None:
    pytest.importorskip("transformers")
    simulator = PushTLooksSimulator()
    envs = gymnasium.make_vec("StreamDiT/PushT-Looks-v0", num_envs=8, actions="text")
    frame = simulator.reset(np.random.default_rng(5), "uniform")
    envs.reset(seed=0, options={"init": frame})
    names = [menu[0] for menu in SPEC.menu[1:9]]
    black = [envs.step(tuple(f"a black pusher; {name}" for name in names))[0] for _ in range(6)][-1]
    places = [
        np.argwhere(np.abs(one.astype(int) - COLOURS["black"]).max(-1) < 60).mean(0)
        for one in black
    ]
    way = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
    middle = np.mean(places, 0)
    for name, place in zip(names, places, strict=True):
        wanted = np.sum([way[word] for word in name.split()[1:]], 0)
        assert np.dot(place - middle, wanted) > 4, (name, place - middle)
    envs.close()
