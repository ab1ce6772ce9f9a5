"""The part of rewards that the action alone does not explain.

Many environments subtract a cost of the action from their reward, and it often varies most. A world
reads it off the action that it was told, whatever its frames show: in a world of mush the rewards
can correlate at 0.99. So what a smooth function of the action explains is taken out of both, the
true and the read rewards, and what is left of them is compared.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from streamdit_gym.actions import ActionLanguage, SpokenBox, action_numbers
from streamdit_gym.evaluate.statistics import Estimate, correlation, estimate

MIN_RESIDUAL_SHARE = 1e-3  # of the true rewards' variance; less is rounding, or hardly matters
MIN_READ_SHARE = 1e-2  # of the true residuals' deviation; less says nothing
RIDGE = 1e-6


def reward_residual_r(
    read: Float[np.ndarray, "e s"],
    true: Float[np.ndarray, "e s"],
    is_step: Bool[np.ndarray, "e s"],
    actions: np.ndarray,
    language: ActionLanguage,
) -> Estimate | None:
    """Return the correlation of what actions do not explain of the read and the true rewards.

    Args:
        read: rewards that the world reads.
        true: the environment's own.
        is_step: which steps are no padding.
        actions: of the steps: numbers of a menu (e, s), or values of a box (e, s, d).
        language: which actions there are.

    Returns:
        None if actions explain the true rewards almost wholly.
    """
    features = action_features(language, actions)[is_step]
    true_residuals = residuals(features, true[is_step])
    if true_residuals.var() <= MIN_RESIDUAL_SHARE * true[is_step].var():
        return None
    pairs = np.full((*is_step.shape, 2), np.nan)
    pairs[is_step, 0] = residuals(features, read[is_step])
    pairs[is_step, 1] = true_residuals
    return estimate(pairs, _residual_correlation)


def action_features(language: ActionLanguage, actions: np.ndarray) -> Float[np.ndarray, "*b f"]:
    """Return numbers of which common costs are sums: of a menu one-hot; of a box a, |a| and a^2.

    They stand beside a constant.
    """
    numbers = action_numbers(language, actions).astype(np.float64)
    parts = [np.ones_like(numbers[..., :1]), numbers]
    if isinstance(language, SpokenBox):
        parts += [np.abs(numbers), numbers**2]
    return np.concatenate(parts, -1)


def residuals(
    features: Float[np.ndarray, "n f"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return what is left of values after the nearest sum of features (ridge regression)."""
    penalty = RIDGE * len(features) * np.eye(features.shape[1])
    weights = np.linalg.solve(features.T @ features + penalty, features.T @ values)
    return values - features @ weights


def _residual_correlation(pairs: np.ndarray) -> float:
    """Return Pearson's r; 0 if the read rewards leave nothing where the true ones do."""
    read, true = pairs[np.isfinite(pairs).all(-1)].T
    if len(true) and read.std() <= MIN_READ_SHARE * true.std():
        return 0.0
    return correlation(pairs)
