"""The statistics that LeRobot keeps of every feature, per episode and of all episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
NUM_LEVELS = 256  # of a colour channel

Statistics = dict[str, list[Any]]  # by name, such as "mean"; as JSON


def feature_statistics(values: np.ndarray, num_frames: int) -> Statistics:
    """Return the statistics of a feature's numbers over an episode's frames.

    Args:
        values: the feature, frames first.
        num_frames: frames of the episode.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    statistics = {
        "min": flat.min(0),
        "max": flat.max(0),
        "mean": flat.mean(0),
        "std": flat.std(0),
    }
    quantiles = np.quantile(flat, list(QUANTILES.values()), axis=0)
    statistics |= dict(zip(QUANTILES, quantiles, strict=True))
    return {name: value.tolist() for name, value in statistics.items()} | {"count": [num_frames]}


def picture_statistics(frames: UInt8[np.ndarray, "f h w 3"]) -> Statistics:
    """Return the statistics of an episode's pictures, per colour channel and from 0 to 1.

    There are only 256 levels, so a histogram holds all that the statistics need.
    """
    channels = [frames[..., channel].ravel() for channel in range(3)]
    counts = np.stack([np.bincount(channel, minlength=NUM_LEVELS) for channel in channels])
    levels = np.arange(NUM_LEVELS) / (NUM_LEVELS - 1)
    is_used = counts > 0
    total = counts.sum(1, keepdims=True)
    mean = (counts * levels).sum(1, keepdims=True) / total
    variance = (counts * (levels - mean) ** 2).sum(1) / total[:, 0]
    statistics = {
        "min": levels[is_used.argmax(1)],
        "max": levels[NUM_LEVELS - 1 - is_used[:, ::-1].argmax(1)],
        "mean": mean[:, 0],
        "std": np.sqrt(variance),
    }
    for name, fraction in QUANTILES.items():
        statistics[name] = _histogram_quantile(counts, levels, fraction)
    return {name: value.reshape(3, 1, 1).tolist() for name, value in statistics.items()} | {
        "count": [len(frames)]
    }


def _histogram_quantile(
    counts: Int[np.ndarray, "3 levels"], levels: Float[np.ndarray, " levels"], fraction: float
) -> Float[np.ndarray, " 3"]:
    """Return a quantile per channel: between two of the sorted values, as numpy has it."""
    cumulative = counts.cumsum(1)
    rank = fraction * (cumulative[:, -1] - 1)
    low = levels[_levels_at(cumulative, np.floor(rank))]
    high = levels[_levels_at(cumulative, np.ceil(rank))]
    return low + (rank - np.floor(rank)) * (high - low)


def _levels_at(
    cumulative: Int[np.ndarray, "3 levels"], ranks: Float[np.ndarray, " 3"]
) -> Int[np.ndarray, " 3"]:
    """Return, per channel, the level of the sorted value at a whole rank."""
    pairs = zip(cumulative, ranks, strict=True)
    return np.array([np.searchsorted(row, rank, "right") for row, rank in pairs])


def joined_statistics(parts: list[dict[str, Statistics]]) -> dict[str, Statistics]:
    """Join the statistics of parts, feature by feature.

    Quantiles are the means of the parts' quantiles, weighted by the parts' lengths.
    """
    return {name: _join_feature([part[name] for part in parts]) for name in parts[0]}


def _join_feature(parts: list[Statistics]) -> Statistics:
    arrays = [{kind: np.array(value) for kind, value in part.items()} for part in parts]
    counts = [int(part["count"][0]) for part in arrays]
    weights = np.array(counts, dtype=float)
    weights /= weights.sum()

    def weighted_mean(values: list[np.ndarray]) -> np.ndarray:
        return np.tensordot(weights, np.stack(values), axes=1)

    mean = weighted_mean([part["mean"] for part in arrays])
    variance = weighted_mean([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in arrays])
    joined = {
        "min": np.min([part["min"] for part in arrays], axis=0),
        "max": np.max([part["max"] for part in arrays], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
    }
    for kind in QUANTILES:
        joined[kind] = weighted_mean([part[kind] for part in arrays])
    return {kind: value.tolist() for kind, value in joined.items()} | {"count": [sum(counts)]}
