"""The measures: how close, how obedient, how lasting, how quick, how well rewarded.

Takes: a candidate, real episodes, the judge's eyes.  Gives: estimates.  Knows nothing of: what the
    candidate is made of.

Every measure has its floor or ceiling beside it: copying the last real frame, the codec alone, the
real frames themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch.nn import functional
from tqdm import tqdm

from streamdit_gym.data.processes import map_in_processes
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import AppearanceEvaluation, ReferenceSimulator, Simulator, WorldSpec
from streamdit_gym.evaluate.candidate import Candidate, Frames, prompts_of
from streamdit_gym.evaluate.evaluator_models import EvaluatorModels
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate, median, psnr, ratio

CONTEXT = 5  # real frames a one-step test goes on from
# grey levels by which a pixel differs between the first and the present real frame to count as
# moving
MOVING_LEVEL = 8
ACTOR_RADIUS_PX = 4.0
MOVED_PX, MOVED_DEGREES = 1.0, 5.0  # from where on a body has been moved
Scores = dict[str, Any]


def evaluator_accuracy(
    eyes: EvaluatorModels, held_out: Shard, twin: ReferenceSimulator, spec: WorldSpec
) -> Scores:
    """Measure the judge itself on held-out real frames."""
    errors = vars(eyes.state_errors(held_out.frames, held_out.states, twin, spec))
    whole = twin.objects(held_out.frames.reshape(-1, *held_out.frames.shape[2:]))
    return {
        **{name: estimate(values, median) for name, values in errors.items()},
        "actor_within_1px": estimate(errors["actor_px"] < 1),
        "readback": estimate(eyes.actions_match(held_out.frames, held_out.actions)),
        **{
            f"whole_{name}": estimate(values.reshape(len(held_out.frames), -1))
            for name, values in whole.items()
        },
    }


def codec(
    candidate: Candidate, held_out: Shard, eyes: EvaluatorModels, twin: ReferenceSimulator
) -> Scores:
    """Measure what the codec alone loses."""
    frames = held_out.frames[:, ::4]
    rebuilt = candidate.reconstruct(frames)
    moving = _moving(frames, frames[:, :1])
    errors = vars(eyes.state_errors(rebuilt, held_out.states[:, ::4], twin, candidate.spec))
    return {
        "moving_db": estimate(_squares(rebuilt, frames, moving), psnr),
        "actor_within_1px": estimate(errors["actor_px"] < 1),
        **{name: estimate(values, median) for name, values in errors.items()},
    }


def fidelity(
    candidate: Candidate,
    held_out: Shard,
    made: Frames,
    eyes: EvaluatorModels,
    twin: ReferenceSimulator,
    horizons: Sequence[int],
) -> list[Scores]:
    """Compare a rollout with the twin at several horizons;
    `made` begins with the real first frame.
    """
    first = held_out.frames[:, :1]
    rows = []
    for horizon in horizons:
        at = slice(horizon, horizon + 1)
        real, shown = held_out.frames[:, at], made[:, at]
        moving = _moving(real, first)
        errors = vars(eyes.state_errors(shown, held_out.states[:, at], twin, candidate.spec))
        copied = vars(eyes.state_errors(first, held_out.states[:, at], twin, candidate.spec))
        whole = twin.objects(shown[:, 0])
        moved = _moved(held_out.states[:, 0], held_out.states[:, horizon], twin, candidate.spec)[
            :, None
        ]
        where_moved = {
            f"{of}{name}": np.where(moved, values[name], np.nan)
            for of, values in (("moved_", errors), ("moved_copy_", copied))
            for name in ("body_px", "body_degrees")
        }
        rows.append(
            {
                "horizon": horizon,
                "generated_db": estimate(_squares(shown, real, moving), psnr),
                "copy_db": estimate(_squares(first, real, moving), psnr),
                "codec_db": estimate(_squares(candidate.reconstruct(real), real, moving), psnr),
                "generated_ssim": estimate(_ssim(shown, real)),
                "copy_ssim": estimate(_ssim(first, real)),
                **{name: estimate(values, median) for name, values in errors.items()},
                **{f"copy_{name}": estimate(values, median) for name, values in copied.items()},
                **{name: estimate(values, median) for name, values in where_moved.items()},
                **{f"whole_{name}": estimate(values) for name, values in whole.items()},
            }
        )
    return rows


def _moved(
    before: Float[np.ndarray, "e s"],
    after: Float[np.ndarray, "e s"],
    twin: ReferenceSimulator,
    spec: WorldSpec,
) -> Bool[np.ndarray, " e"]:
    """Return whether the body is elsewhere, or turned."""
    x, y, c, s = (spec.state_names.index(name) for name in twin.body)
    far = np.linalg.norm(after[:, [x, y]] - before[:, [x, y]], axis=-1) > MOVED_PX
    turned = (after[:, [c, s]] * before[:, [c, s]]).sum(-1) < np.cos(np.radians(MOVED_DEGREES))
    return far | turned


def obedience(
    candidate: Candidate,
    held_out: Shard,
    made: Frames,
    eyes: EvaluatorModels,
    twin: ReferenceSimulator,
    steps: int,
) -> Scores:
    """Measure whether frames do what was said: actions read back off a rollout,
    and one-step errors under other actions.
    """
    steps = min(steps, held_out.actions.shape[1])
    right = eyes.actions_match(made[:, : steps + 1], held_out.actions[:, :steps])
    real = eyes.actions_match(held_out.frames[:, : steps + 1], held_out.actions[:, :steps])
    errors = _one_step_errors(candidate, held_out, twin)
    return {
        "readback": estimate(right),
        "readback_real": estimate(real),
        "readback_share": estimate(np.stack([right.mean(1), real.mean(1)], -1), ratio),
        "chance": 1 / len(candidate.spec.menu),
        "loss_true": estimate(errors["true"]),
        "zero_over_true": estimate(np.stack([errors["zero"], errors["true"]], -1), ratio),
        "shuffled_over_true": estimate(np.stack([errors["shuffled"], errors["true"]], -1), ratio),
    }


def _one_step_errors(
    candidate: Candidate, held_out: Shard, twin: ReferenceSimulator
) -> dict[str, Float[np.ndarray, " e"]]:
    """Return the squared error of the next frame where the actor was or is, per episode: true,
    no ("zero") and other actions.
    """
    spec = candidate.spec
    actor = [spec.state_names.index(name) for name in twin.actor]
    said = prompts_of(spec, held_out)
    starts = range(0, held_out.actions.shape[1] - CONTEXT, 8)
    rng = np.random.default_rng(0)
    totals: dict[str, list[np.ndarray]] = {"true": [], "zero": [], "shuffled": []}
    for start in starts:
        context, after = held_out.frames[:, start : start + CONTEXT], start + CONTEXT
        here = np.zeros((len(held_out.frames), spec.size, spec.size), dtype=bool)
        for place in (held_out.states[:, after - 1, actor], held_out.states[:, after, actor]):
            here |= _disc(place, spec.size)
        others = _other_actions(held_out.actions[:, after - 1], len(spec.menu), rng)
        last = {
            "true": [line[after - 1] for line in said],
            "zero": [spec.menu[0][0]] * len(said),
            "shuffled": [spec.menu[a][0] for a in others],
        }
        lines = [
            [*line[start : after - 1], word]
            for words in last.values()
            for line, word in zip(said, words, strict=True)
        ]
        shown = (
            candidate.roll_out(np.concatenate([context] * len(last)), lines)
            .frames[:, 0]
            .astype(float)
        )
        for kind, part in zip(last, np.split(shown, len(last)), strict=True):
            square = ((part - held_out.frames[:, after].astype(float)) ** 2).mean(-1)
            totals[kind].append((square * here).sum((1, 2)) / here.sum((1, 2)).clip(1))
    return {kind: np.mean(values, axis=0) for kind, values in totals.items()}


def _other_actions(
    actions: Int[np.ndarray, " e"], count: int, rng: np.random.Generator
) -> Int[np.ndarray, " e"]:
    """Return, for every action, one of the others."""
    return (actions + rng.integers(1, count, size=len(actions))) % count


def free_text(
    candidate: Candidate,
    held_out: Shard,
    eyes: EvaluatorModels,
    twin: ReferenceSimulator,
    steps: int = 16,
) -> Scores:
    """Measure how phrases that no training has heard are followed,
    as a share of how the menu's are.
    """
    actions = held_out.actions[:, :steps]
    short = replace(held_out, actions=actions)
    first = held_out.frames[:, :1]
    found = {}
    for name, phrases in (("menu", None), ("unseen", twin.unseen)):
        frames = candidate.roll_out(first, prompts_of(candidate.spec, short, phrases)).frames
        found[name] = eyes.actions_match(np.concatenate([first, frames], 1), actions).mean(1)
    return {
        "readback_menu": estimate(found["menu"]),
        "readback_unseen": estimate(found["unseen"]),
        "unseen_share": estimate(np.stack([found["unseen"], found["menu"]], -1), ratio),
    }


def looks(
    candidate: Candidate,
    held_out: Shard,
    wanted: AppearanceEvaluation,
    horizons: Sequence[int] = (1, 4, 16, 64),
) -> Scores:
    """Measure whether the world puts on a look that no training has shown: it is said once,
    with the first move, and then moves alone.
    """
    steps = min(max(horizons), held_out.actions.shape[1])
    horizons = [horizon for horizon in horizons if horizon <= steps]
    first = held_out.frames[:, :1]
    asked = [wanted.unseen[i % len(wanted.unseen)] for i in range(len(first))]
    said = prompts_of(candidate.spec, replace(held_out, actions=held_out.actions[:, :steps]))
    said = [
        [f"{wanted.saying(look)}; {line[0]}", *line[1:]]
        for look, line in zip(asked, said, strict=True)
    ]
    shown = candidate.roll_out(first, said).frames
    worn = [wanted.wears(frames, look) for frames, look in zip(shown, asked, strict=True)]
    scores: Scores = {}
    for horizon in horizons:
        found = {thing: np.array([row[thing][horizon - 1] for row in worn]) for thing in worn[0]}
        scores[f"all_after_{horizon}"] = estimate(np.nanmin(list(found.values()), axis=0))
        scores |= {f"{thing}_after_{horizon}": estimate(values) for thing, values in found.items()}
    scores["asked"] = [wanted.saying(look) for look in asked[:6]]
    scores["strip"] = np.concatenate(
        [first[:6], shown[:6, [horizon - 1 for horizon in horizons]]], 1
    )
    return scores


def drift(
    candidate: Candidate,
    held_out: Shard,
    twin: ReferenceSimulator,
    frames: int,
    streams: int,
    seed: int = 0,
    workers: int = 1,
) -> Scores:
    """Measure long streams: the first against the last 15 % of them, and whether every thing stays
    whole.

    A simulator, too, may look otherwise after a while: a T that is pushed off its goal has more
    edges. So the twin plays the same, from the same states, and what is asked is how much more a
    stream has drifted.

    A thing lost is often lost for good, so the frames of a stream say the same again and again: the
    intervals are over streams.
    """
    rng = np.random.default_rng(seed)
    menu, streams = candidate.spec.menu, min(streams, len(held_out.frames))
    played = []
    for _ in range(streams):
        line: list[int] = []
        while len(line) < frames:
            line += [int(rng.integers(len(menu)))] * int(rng.integers(1, 9))
        played.append(line[:frames])
    said = [[menu[action][0] for action in line] for line in played]
    shown = candidate.roll_out(held_out.frames[:streams, :1], said, seed).frames
    start = next(iter(twin.starts))
    jobs = [
        (twin.make, start, seed, state, line)
        for state, line in zip(held_out.states[:, 0], played, strict=False)
    ]
    twins = map_in_processes(
        _twin_looks,
        jobs,
        workers,
        tqdm(total=streams, desc="the same in the twin", unit="stream", leave=False),
    )
    own, real = np.stack([_looks_of(row) for row in shown]), np.stack(twins)
    part = max(1, int(0.15 * frames))
    scores: Scores = {"frames": frames, "streams": streams}
    for i, name in enumerate(("sharpness", "level")):
        ends = np.stack(
            [
                found[:, place, i].mean(1)
                for found in (own, real)
                for place in (slice(-part, None), slice(part))
            ],
            -1,
        )
        scores[f"{name}_last_over_first"], scores[f"{name}_of_the_twin"] = (
            estimate(ends[:, :2], ratio),
            estimate(ends[:, 2:], ratio),
        )
        scores[f"{name}_beside_the_twin"] = estimate(
            ends, lambda rows: ratio(rows[:, :2]) / ratio(rows[:, 2:])
        )
    whole = twin.objects(shown.reshape(-1, *shown.shape[2:]))
    for name, values in whole.items():
        rows = values.reshape(streams, frames)
        scores[f"whole_{name}"], scores[f"whole_{name}_at_the_end"] = (
            estimate(rows),
            estimate(rows[:, -part:]),
        )
    scores["strip"] = shown[0, np.linspace(0, frames - 1, 16).astype(int)]
    return scores


def _twin_looks(
    job: tuple[Callable[[], Simulator], str, int, Float[np.ndarray, " s"], list[int]],
) -> Float[np.ndarray, "f 2"]:
    """Play actions in the twin from a state, and return what its frames look like."""
    make, start, seed, state, line = job
    simulator = make()
    simulator.reset(np.random.default_rng(seed), start)
    simulator.put(np.random.default_rng(seed), state, 0, state)
    looks = np.concatenate(
        [_looks_of(simulator.step(action)[None]) for action in line]
    )  # one by one: a long stream is large
    simulator.close()
    return looks


def reaction(
    candidate: Candidate,
    held_out: Shard,
    eyes: EvaluatorModels,
    twin: ReferenceSimulator,
    before: int = 6,
    after: int = 10,
) -> Scores:
    """Measure how soon a new prompt is obeyed: paired rollouts with the same noise, A throughout
    against A, then B.

    The effect is the difference of the actor's speed between the two, along its final direction;
    `curve` is its share of the final effect, frame by frame after the change, first in the
    candidate (where frames begun before it come first) and then in the twin.
    """
    menu, episodes = candidate.spec.menu, len(held_out.frames)
    moves = len(menu) - 1
    first = np.arange(episodes) % moves + 1
    second = (first - 1 + moves // 2) % moves + 1  # the opposite direction, if the menu goes around
    lines = {
        "A": [[menu[a][0]] * (before + after) for a in first],
        "AB": [
            [menu[a][0]] * before + [menu[b][0]] * after for a, b in zip(first, second, strict=True)
        ],
    }
    start = held_out.frames[:, :1]
    actor = [candidate.spec.state_names.index(name) for name in twin.actor]
    made = {
        k: eyes.probe.read(np.concatenate([start, candidate.roll_out(start, said).frames], 1))[0][
            ..., actor
        ]
        for k, said in lines.items()
    }
    real = {
        k: _simulate(twin, held_out, [[_action_of(menu, s) for s in line] for line in said], actor)
        for k, said in lines.items()
    }
    scores: Scores = {"asked_after": before}
    for name, places in (("generated", made), ("real", real)):
        speed = {k: np.diff(v, axis=1)[:, before:] for k, v in places.items()}
        effect = speed["AB"] - speed["A"]
        final = effect[:, -4:].mean(1, keepdims=True)
        length = np.linalg.norm(final, axis=-1).clip(1e-3)
        share = (effect * final).sum(-1) / length**2
        ok = length[:, 0] > 1.0  # px a frame; walls and the block can hide the effect
        curve = (
            np.nanmedian(np.where(ok[:, None], share, np.nan), axis=0)
            if ok.any()
            else np.full(after, np.nan)
        )
        if name == "generated":
            curve = np.concatenate([np.zeros(candidate.latency_frames), curve])
        scores[f"{name}_curve"] = [float(value) for value in curve]
        scores[f"{name}_obeys"] = estimate(ok)
        for part in (50, 90):
            reached = np.flatnonzero(curve >= part / 100)
            scores[f"{name}_frames_to_{part}"] = int(reached[0]) + 1 if len(reached) else None
    return scores


def _action_of(menu: Sequence[Sequence[str]], said: str) -> int:
    return next(action for action, phrases in enumerate(menu) if said == phrases[0])


def _simulate(
    twin: ReferenceSimulator, held_out: Shard, actions: list[list[int]], columns: list[int]
) -> Float[np.ndarray, "e f 2"]:
    """Play actions in the twin from fresh starts, and return where the actor was."""
    simulator, places = twin.make(), []
    for episode, line in enumerate(actions):
        simulator.reset(np.random.default_rng(episode), next(iter(twin.starts)))
        path = [simulator.state()]
        for action in line:
            simulator.step(action)
            path.append(simulator.state())
        places.append(np.stack(path)[:, columns])
    simulator.close()
    return np.stack(places)


def reward(candidate: Candidate, held_out: Shard, short: Shard) -> Scores:
    """Compare the head's rewards with the true ones: step by step on real frames, summed up to the
    end of short rollouts on generated ones.

    Args:
        candidate: what is judged.
        held_out: real episodes.
        short: many others, that the candidate rolls out.
    """
    spec, horizon = candidate.spec, short.actions.shape[1]
    read, first = candidate.read(held_out.frames), short.frames[:, :1]
    scores = np.concatenate(
        [candidate.read(first), candidate.roll_out(first, prompts_of(spec, short)).scores], 1
    )
    result: Scores = {"horizon": horizon}
    for name, task in sorted(spec.tasks.items()):
        potential, success = (
            spec.score_names.index(task.potential),
            spec.score_names.index(task.success),
        )
        truth, meant = held_out.scores, short.scores
        pairs = np.stack([np.diff(x[..., potential], axis=1) for x in (read, truth)], -1)
        result[f"{name}_step_r_real"] = estimate(pairs, correlation)
        result[f"{name}_potential_r_real"] = estimate(
            np.stack([x[..., potential] for x in (read, truth)], -1), correlation
        )
        gained = np.stack(
            [x[:, horizon, potential] - x[:, 0, potential] for x in (scores, meant)], -1
        )
        result[f"{name}_gain_r_generated"] = estimate(gained, correlation)
        result[f"{name}_potential_r_generated"] = estimate(
            np.stack([x[:, horizon, potential] for x in (scores, meant)], -1), correlation
        )
        said, true = read[..., success] > task.threshold, truth[..., success] > 0.5
        result[f"{name}_false_success_real"] = estimate(_false(said, true))
        result[f"{name}_success_seen_real"] = estimate(np.where(true, said, np.nan))
        made, real = scores[:, 1:, success] > task.threshold, meant[:, 1:, success] > 0.5
        result[f"{name}_false_success_generated"] = estimate(_false(made, real))
    return result


def _false(
    said: Bool[np.ndarray, "e f"], true: Bool[np.ndarray, "e f"]
) -> Float[np.ndarray, "e f"]:
    """Return 1 where a success is claimed that is none, 0 where rightly not,
    nan where there is one.
    """
    return np.where(true, np.nan, said.astype(float))


def policies(played: dict[str, tuple[float, float]]) -> Scores:
    """Return how well the world ranks players: `played` gives each player's (return in the world,
    return in the twin).
    """
    pairs = np.array(list(played.values()))
    ranks = pairs.argsort(0).argsort(0).astype(float)
    return {
        "players": played,
        "pearson_r": estimate(pairs, correlation),
        "rank_r": estimate(ranks, correlation),
    }


def motion(made: Frames, real: Frames) -> Estimate:
    """Return how much generated frames change from one to the next,
    as a share of how much real ones do.
    """
    changes = [
        np.abs(np.diff(x.astype(np.int16), axis=1)).reshape(len(x), -1).mean(1)
        for x in (made, real)
    ]
    return estimate(np.stack(changes, -1), ratio)


def _moving(frames: Frames, first: Frames) -> Bool[np.ndarray, "e f h w"]:
    return np.abs(frames.astype(np.int16) - first).max(-1) > MOVING_LEVEL


def _squares(
    found: Frames, truth: Frames, where: Bool[np.ndarray, "e f h w"]
) -> Float[np.ndarray, "e 2"]:
    """Return every episode's squared error and count of pixels."""
    square = ((found.astype(float) - truth) ** 2).mean(-1) * where
    return np.stack([square.sum((1, 2, 3)), where.sum((1, 2, 3))], -1)


def _ssim(a: Frames, b: Frames) -> Float[np.ndarray, "e f"]:
    """Return the structural similarity of grey frames, uniform windows of 7 pixels (Wang et al.,
    2004).
    """
    grey = [torch.from_numpy(x.astype(np.float32).mean(-1)) for x in (a, b)]

    def local(x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, 7, stride=1)

    x, y = grey
    mx, my = local(x), local(y)
    vx, vy, vxy = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return index.mean((-1, -2)).numpy()


def _looks_of(frames: UInt8[np.ndarray, "f h w 3"]) -> Float[np.ndarray, "f 2"]:
    """Return each frame's sharpness, the root mean square of the differences between neighbouring
    pixels, and its mean level.
    """
    grey = frames.astype(np.float32).mean(-1)
    across, down = np.diff(grey, axis=2), np.diff(grey, axis=1)
    return np.stack(
        [np.sqrt((across**2).mean((1, 2)) + (down**2).mean((1, 2))), grey.mean((1, 2))], -1
    )


def _disc(places: Float[np.ndarray, "e 2"], size: int) -> Bool[np.ndarray, "e h w"]:
    """Return the pixels around some places (x, y in px)."""
    line = np.arange(size) + 0.5
    across, down = (
        line[None, None, :] - places[:, 0, None, None],
        line[None, :, None] - places[:, 1, None, None],
    )
    return across**2 + down**2 < ACTOR_RADIUS_PX**2
