"""How well a world ranks policies, compared with the reference simulator."""

from __future__ import annotations

import numpy as np

from streamdit_gym.evaluate.schema import PolicyMetrics, PolicyReturns
from streamdit_gym.evaluate.statistics import (
    correlation,
    estimate,
    mean_maximum_rank_violation,
    rank_correlation,
)


def policy_metrics(returns: dict[str, PolicyReturns]) -> PolicyMetrics:
    """Correlate the policies' returns in the world with those in the reference simulator."""
    pairs = np.array([(policy.generated, policy.real) for policy in returns.values()])
    return PolicyMetrics(
        returns=returns,
        pearson_r=estimate(pairs, correlation),
        rank_r=estimate(pairs, rank_correlation),
        mmrv=estimate(pairs, mean_maximum_rank_violation),
    )
