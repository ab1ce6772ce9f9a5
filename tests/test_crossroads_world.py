"""The shipped Crossroads draws one of many futures, with the odds of the simulator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from streamdit_gym import World
from streamdit_gym.envs.crossroads.definition import LEFT_AT_POST, LEFT_AT_SCREEN, SPEC
from streamdit_gym.envs.crossroads.marks import ball_integrity, ball_outcome
from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator
from streamdit_gym.evaluate.candidate import WorldCandidate, action_prompts

pytestmark = pytest.mark.slow
CONTEXT = 5  # frames
FRAMES = 6
STARTS = 12
FUTURES = 4  # of a start, under each action
STAY = 0
MOVES = range(3)
Where = Callable[[CrossroadsSimulator], bool]


@pytest.fixture(scope="module")
def candidate() -> WorldCandidate:
    return WorldCandidate(World.from_pretrained("Crossroads"))


def is_at_post(simulator: CrossroadsSimulator) -> bool:
    return simulator._y == 12 and simulator._rolled == 0


def is_above_screen(simulator: CrossroadsSimulator) -> bool:
    return simulator._is_left and 31 <= simulator._y <= 34 and simulator._rolled == 7


def context_before(is_there: Where, seed: int) -> np.ndarray:
    """Return the frames of a standing paddle, up to one after which chance decides."""
    simulator = CrossroadsSimulator()
    frames = [simulator.reset(np.random.default_rng(seed), "any")]
    while len(frames) < CONTEXT or not is_there(simulator):
        frames.append(simulator.step(STAY))
    return np.stack(frames[-CONTEXT:])


def futures(candidate: WorldCandidate, is_there: Where) -> tuple[Counter[str], float]:
    """Return what becomes of the ball, and the share of frames in which it is whole."""
    starts = np.stack([context_before(is_there, seed) for seed in range(STARTS)])
    context = np.repeat(starts, FUTURES * len(MOVES), 0)
    actions = np.full((len(context), CONTEXT - 1 + FRAMES), STAY)
    actions[:, CONTEXT - 1 :] = np.resize(MOVES, len(context))[:, None]
    frames = candidate.roll_out(context, action_prompts(SPEC, actions)).frames
    whole = np.concatenate([ball_integrity(future)["ball"] for future in frames])
    outcomes = Counter(
        ball_outcome(np.concatenate(pair)) for pair in zip(context, frames, strict=True)
    )
    return outcomes, float(np.nanmean(whole))


def share(outcomes: Counter[str], word: str) -> float:
    return sum(count for name, count in outcomes.items() if word in name) / outcomes.total()


def test_balls_turn_at_the_post_with_nearly_their_odds(candidate: WorldCandidate) -> None:
    outcomes, whole = futures(candidate, is_at_post)
    assert share(outcomes, "left") == pytest.approx(LEFT_AT_POST, abs=0.1)
    assert share(outcomes, "right") == pytest.approx(1 - LEFT_AT_POST, abs=0.1)
    assert whole > 0.95


def test_balls_come_out_below_the_screen_with_nearly_their_odds(candidate: WorldCandidate) -> None:
    outcomes, whole = futures(candidate, is_above_screen)
    assert share(outcomes, "on the left") == pytest.approx(LEFT_AT_SCREEN, abs=0.1)
    assert share(outcomes, "on the right") == pytest.approx(1 - LEFT_AT_SCREEN, abs=0.1)
    assert whole > 0.85
