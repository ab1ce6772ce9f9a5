"""Plots of scores, as PNG files in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from streamdit_gym.errors import require
from streamdit_gym.evaluate.control_schema import ReactionMetrics, SweepMetrics
from streamdit_gym.evaluate.measured_metrics import look_up
from streamdit_gym.evaluate.schema import PolicyMetrics, Scores
from streamdit_gym.evaluate.statistics import Estimate

GREY = "#999"
SOLID, DASHED = "-", "--"
MAX_LEGEND = 12  # policies that are named beside their points
# path at a horizon, label, line style
POSITION_LINES = (
    ("state_error.actor_px", "actor", SOLID),
    ("state_error.body_px", "body", SOLID),
    ("copy_state_error.actor_px", "actor, copying", DASHED),
    ("copy_state_error.body_px", "body, copying", DASHED),
)
PSNR_LINES = (
    ("frame_psnr_db", "generated", SOLID),
    ("copy_frame_psnr_db", "copying the first frame", DASHED),
)


def plot_fidelity(scores: Scores) -> bytes:
    """Plot over horizons: errors of positions if the world names some, else the PSNR of frames."""
    if scores.evaluator.state_error is not None:
        return _plot_over_horizons(scores, POSITION_LINES, "median error, px of the frame")
    return _plot_over_horizons(scores, PSNR_LINES, "PSNR of whole frames, dB")


def _plot_over_horizons(
    scores: Scores, lines: tuple[tuple[str, str, str], ...], label: str
) -> bytes:
    horizons = [row.horizon for row in scores.fidelity]

    def draw(axes: Any) -> None:
        for path, line_label, style in lines:
            found = [look_up(scores, f"fidelity.{horizon}.{path}") for horizon in horizons]
            estimates: list[Estimate] = [estimate for estimate in found if estimate is not None]
            if len(estimates) < len(horizons):
                continue
            values = [estimate.value for estimate in estimates]
            low = [estimate.low for estimate in estimates]
            high = [estimate.high for estimate in estimates]
            (line,) = axes.plot(horizons, values, style, marker="o", label=line_label)
            axes.fill_between(horizons, low, high, color=line.get_color(), alpha=0.15)
        axes.set(xscale="log", xlabel="frames after the real one", ylabel=label)
        axes.set_xticks(horizons, [str(horizon) for horizon in horizons])
        axes.legend()

    return _plot(draw)


def plot_sweep(sweep: SweepMetrics) -> bytes:
    """Plot what every dimension of a box moves, in the world and in the reference simulator."""

    def draw(axes: Any) -> None:
        for name, curve in sweep.dimensions.items():
            (line,) = axes.plot(curve.values, curve.generated, SOLID, marker=".", label=name)
            real = f"{name}, real"
            axes.plot(curve.values, curve.real, DASHED, color=line.get_color(), label=real)
        axes.set(
            xlabel=f"value of the action, held for {sweep.frames} frames",
            ylabel="displacement, share of the range",
        )
        axes.legend(fontsize="x-small")

    return _plot(draw)


def plot_reaction(reaction: ReactionMetrics) -> bytes:
    """Plot how soon a new prompt shows."""

    def draw(axes: Any) -> None:
        for curve, label in ((reaction.generated, "generated"), (reaction.real, "real")):
            frames = range(1, len(curve.effect) + 1)
            axes.plot(frames, curve.effect, marker="o", label=label)
        axes.axhline(1, color=GREY, lw=0.8)
        axes.set(
            xlabel="frames after the new prompt",
            ylabel="share of the final effect on the actor's speed",
        )
        axes.legend()

    return _plot(draw)


def plot_policies(policies: PolicyMetrics) -> bytes:
    """Plot policies' returns in the world over those in the reference simulator."""
    all_returns = [
        mean_return
        for returns in policies.returns.values()
        for mean_return in (returns.generated, returns.real)
    ]
    diagonal = [min(all_returns), max(all_returns)]

    def draw(axes: Any) -> None:
        for name, returns in policies.returns.items():
            axes.plot(returns.real, returns.generated, "o", label=name)
        axes.plot(diagonal, diagonal, DASHED, color=GREY, lw=0.8)
        axes.set(
            xlabel="mean return in the reference simulator",
            ylabel="mean return in the generated world",
        )
        if len(policies.returns) <= MAX_LEGEND:
            axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))

    return _plot(draw)


def _plot(draw: Callable[[Any], None]) -> bytes:
    figure_class = require("matplotlib.figure", "evaluate", "a plot").Figure
    figure = figure_class(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    draw(figure.add_subplot())
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
