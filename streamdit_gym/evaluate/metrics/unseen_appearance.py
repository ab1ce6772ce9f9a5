"""Whether the world takes on an appearance that no training has shown."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from streamdit_gym.evaluate.candidate import action_prompts
from streamdit_gym.evaluate.metrics.evaluation_context import EvaluationContext
from streamdit_gym.evaluate.schema import AppearanceMetrics
from streamdit_gym.evaluate.statistics import Estimate, estimate

HORIZONS = (1, 4, 16, 64)
FILM_ROWS = 6


def appearance_metrics(context: EvaluationContext) -> AppearanceMetrics | None:
    """Prompt unseen appearances once, with the first move, and check frames after it.

    Returns:
        None for a world that has only one appearance.
    """
    appearances = context.adapter.appearance
    if appearances is None:
        return None
    steps = min(max(HORIZONS), context.held_out.actions.shape[1])
    horizons = [horizon for horizon in HORIZONS if horizon <= steps]
    first = context.first_frames
    asked = [appearances.unseen[i % len(appearances.unseen)] for i in range(len(first))]
    descriptions = [appearances.describe(appearance) for appearance in asked]
    moves = action_prompts(context.spec, context.held_out.actions[:, :steps])
    prompts = [
        [f"{description}; {episode[0]}", *episode[1:]]
        for description, episode in zip(descriptions, moves, strict=True)
    ]
    shown = context.candidate.roll_out(first, prompts).frames
    shows = [
        appearances.shows(frames, appearance)
        for frames, appearance in zip(shown, asked, strict=True)
    ]
    film_columns = [horizon - 1 for horizon in horizons]
    film_strip = np.concatenate([first[:FILM_ROWS], shown[:FILM_ROWS, film_columns]], 1)
    return AppearanceMetrics(
        prompts=tuple(descriptions[:FILM_ROWS]),
        rates=_rates(shows, horizons),
        film_strip=film_strip,
    )


def _rates(
    shows: list[dict[str, Float[np.ndarray, " f"]]], horizons: list[int]
) -> dict[str, Estimate]:
    """Return the share of episodes that show each thing as prompted, and all things at once.

    Args:
        shows: for each episode and thing, whether its frames show it: 1, 0, or NaN.
        horizons: frames after the prompt.
    """
    rates = {}
    for horizon in horizons:
        by_thing = {}
        for thing in shows[0]:
            by_thing[thing] = np.array([episode[thing][horizon - 1] for episode in shows])
        all_things = np.nanmin(list(by_thing.values()), axis=0)
        rates[f"all_after_{horizon}"] = estimate(all_things)
        for thing, values in by_thing.items():
            rates[f"{thing}_after_{horizon}"] = estimate(values)
    return rates
