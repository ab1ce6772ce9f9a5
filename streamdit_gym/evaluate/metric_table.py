"""The table of metrics that reports, model cards and comparisons iterate.

A metric has a path in `Scores`, such as ``fidelity.16.state_error.actor_px``. In the table, a path
may hold ``{horizon}``, ``{number}``, ``{angle}``, ``{dimension}``, ``{object}``, ``{outcome}``,
``{task}`` or ``{appearance}``: the metric then stands for one of each that was measured.
"""

from __future__ import annotations

from streamdit_gym.evaluate.metric_kinds import (
    DECIBELS,
    DEGREES,
    PER_THOUSAND_STEPS,
    PIXELS,
    RATIO,
    SHARE,
    SQUARED_LEVELS,
    THREE_DECIMALS,
    Better,
    Metric,
    Unit,
)
from streamdit_gym.evaluate.stream_metric_table import DIVERSITY, LONG_STREAMS


def _over_horizons(path: str, label: str, unit: Unit, better: Better) -> Metric:
    """Return a metric of `FidelityMetrics`, read against the same of copying the first frame."""
    return Metric(
        path=f"fidelity.{{horizon}}.{path}",
        label=label,
        unit=unit,
        better=better,
        baseline=f"fidelity.{{horizon}}.copy_{path}",
        baseline_label="copying the first frame",
    )


METRICS: tuple[Metric, ...] = (
    Metric(
        path="evaluator.state_error.actor_px",
        label="evaluator, real frames: error of the actor's position (median)",
        unit=PIXELS,
    ),
    Metric(
        path="evaluator.state_error.body_px",
        label="evaluator, real frames: error of the body's position (median)",
        unit=PIXELS,
    ),
    Metric(
        path="evaluator.state_error.body_degrees",
        label="evaluator, real frames: error of the body's angle (median)",
        unit=DEGREES,
    ),
    Metric(
        path="evaluator.actor_within_1px",
        label="evaluator, real frames: actor found within 1 px",
        unit=SHARE,
    ),
    Metric(
        path="evaluator.numbers.{number}",
        label="evaluator, real frames: error of {number}, as a share of its deviation (median)",
        unit=SHARE,
    ),
    Metric(
        path="evaluator.angles.{angle}",
        label="evaluator, real frames: error of the angle {angle} (median)",
        unit=DEGREES,
    ),
    Metric(
        path="evaluator.inverse_dynamics_r.{dimension}",
        label="evaluator, real frames: r of the read and the true action, {dimension}",
        unit=THREE_DECIMALS,
    ),
    Metric(
        path="evaluator.inverse_dynamics_accuracy",
        label="evaluator, real frames: inverse-dynamics accuracy",
        unit=SHARE,
    ),
    Metric(
        path="evaluator.object_integrity.{object}",
        label="evaluator, real frames: object integrity rate, {object}",
        unit=SHARE,
    ),
    Metric(path="codec.psnr_db", label="codec: PSNR of moving pixels", unit=DECIBELS),
    Metric(path="codec.frame_psnr_db", label="codec: PSNR of whole frames", unit=DECIBELS),
    Metric(
        path="codec.actor_within_1px",
        label="codec: share of frames with the actor within 1 px",
        unit=SHARE,
    ),
    Metric(
        path="codec.state_error.actor_px",
        label="codec: error of the actor's position (median)",
        unit=PIXELS,
    ),
    Metric(
        path="codec.state_error.body_px",
        label="codec: error of the body's position (median)",
        unit=PIXELS,
    ),
    Metric(
        path="codec.state_error.body_degrees",
        label="codec: error of the body's angle (median)",
        unit=DEGREES,
    ),
    _over_horizons("psnr_db", "PSNR of moving pixels after {horizon} frames", DECIBELS, "higher"),
    _over_horizons(
        "frame_psnr_db", "PSNR of whole frames after {horizon} frames", DECIBELS, "higher"
    ),
    _over_horizons("ssim", "SSIM after {horizon} frames", THREE_DECIMALS, "higher"),
    _over_horizons(
        "state_error.actor_px",
        "error of the actor's position after {horizon} frames (median)",
        PIXELS,
        "lower",
    ),
    _over_horizons(
        "state_error.body_px",
        "error of the body's position after {horizon} frames (median)",
        PIXELS,
        "lower",
    ),
    _over_horizons(
        "state_error.body_degrees",
        "error of the body's angle after {horizon} frames (median)",
        DEGREES,
        "lower",
    ),
    _over_horizons(
        "moved_body.body_px",
        "error of the body's position after {horizon} frames, where it moved (median)",
        PIXELS,
        "lower",
    ),
    _over_horizons(
        "moved_body.body_degrees",
        "error of the body's angle after {horizon} frames, where it moved (median)",
        DEGREES,
        "lower",
    ),
    _over_horizons(
        "numbers.{number}",
        "error of {number} after {horizon} frames, as a share of its deviation (median)",
        SHARE,
        "lower",
    ),
    _over_horizons(
        "angles.{angle}",
        "error of the angle {angle} after {horizon} frames (median)",
        DEGREES,
        "lower",
    ),
    Metric(
        path="fidelity.{horizon}.object_integrity.{object}",
        label="object integrity rate after {horizon} frames, {object}",
        unit=SHARE,
        better="higher",
    ),
    Metric(
        path="motion",
        label="change from frame to frame, generated over real",
        unit=RATIO,
        better="nearer to 1",
    ),
    Metric(
        path="action.inverse_dynamics_accuracy",
        label="inverse-dynamics accuracy on generated frames",
        unit=SHARE,
        better="higher",
        baseline="action.chance",
        baseline_label="chance",
    ),
    Metric(
        path="action.action_fidelity",
        label="action fidelity: inverse-dynamics accuracy, generated over real",
        unit=SHARE,
        baseline="action.real_inverse_dynamics_accuracy",
        baseline_label="accuracy on real frames",
    ),
    Metric(
        path="action.dimension_r.{dimension}",
        label="r of the action read off generated frames and the prompted one, {dimension}",
        unit=THREE_DECIMALS,
        better="higher",
        baseline="action.real_dimension_r.{dimension}",
        baseline_label="r on real frames",
    ),
    Metric(
        path="action.dimension_fidelity.{dimension}",
        label="action fidelity: r of the read action, generated over real, {dimension}",
        unit=SHARE,
    ),
    Metric(
        path="action.next_frame_error",
        label="next frame around the actor: squared error",
        unit=SQUARED_LEVELS,
        better="lower",
    ),
    Metric(
        path="action.other_actions_error_ratio",
        label="next frame around the actor: error under other actions over the true ones",
        unit=RATIO,
        better="higher",
    ),
    Metric(
        path="action.idle_error_ratio",
        label="next frame around the actor: error when idling over the true actions",
        unit=RATIO,
        better="higher",
    ),
    Metric(
        path="ablation.error_removed",
        label="share of the error under other episodes' actions that the true ones remove",
        unit=SHARE,
        better="higher",
    ),
    Metric(
        path="sweep.dimensions.{dimension}.error",
        label="sweep of {dimension}: largest distance from the reference simulator's curve",
        unit=SHARE,
        better="lower",
    ),
    Metric(
        path="sweep.dimensions.{dimension}.backward",
        label="sweep of {dimension}: largest fall of a curve that should rise",
        unit=SHARE,
        better="lower",
    ),
    Metric(
        path="text.menu_accuracy",
        label="inverse-dynamics accuracy under the menu's phrases",
        unit=SHARE,
        better="higher",
    ),
    Metric(
        path="text.unseen_accuracy",
        label="inverse-dynamics accuracy under unseen phrases",
        unit=SHARE,
        better="higher",
        baseline="action.real_inverse_dynamics_accuracy",
        baseline_label="accuracy on real frames",
    ),
    Metric(
        path="text.unseen_ratio",
        label="accuracy under unseen phrases over that under the menu's",
        unit=SHARE,
    ),
    *LONG_STREAMS,
    *DIVERSITY,
    Metric(
        path="reaction.generated.prompt_shows",
        label="share of episodes in which a new prompt shows",
        unit=SHARE,
        better="higher",
        baseline="reaction.real.prompt_shows",
        baseline_label="reference simulator",
    ),
    Metric(
        path="appearance.rates.{appearance}",
        label="unseen appearance shows: {appearance} frames",
        unit=SHARE,
        better="higher",
    ),
    Metric(
        path="readout.tasks.{task}.real_potential_r",
        label="{task}: r of the read and the true potential, real frames",
        unit=THREE_DECIMALS,
    ),
    Metric(
        path="readout.tasks.{task}.generated_potential_r",
        label="{task}: r of the read and the true potential, generated frames",
        unit=THREE_DECIMALS,
        better="higher",
    ),
    Metric(
        path="readout.tasks.{task}.real_step_gain_r",
        label="{task}: r of the read and the true gain of one step, real frames",
        unit=THREE_DECIMALS,
    ),
    Metric(
        path="readout.tasks.{task}.generated_gain_r",
        label="{task}: r of the read and the true gain of a short rollout, generated frames",
        unit=THREE_DECIMALS,
        better="higher",
    ),
    Metric(
        path="readout.tasks.{task}.real_false_success",
        label="{task}: false successes on real frames",
        unit=SHARE,
    ),
    Metric(
        path="readout.tasks.{task}.generated_false_success",
        label="{task}: false successes on generated frames",
        unit=SHARE,
        better="lower",
    ),
    Metric(
        path="readout.tasks.{task}.real_success_recall",
        label="{task}: real successes that are recognised",
        unit=SHARE,
    ),
    Metric(
        path="outcome.real_reward_r",
        label="r of the read and the environment's own reward, real steps",
        unit=THREE_DECIMALS,
    ),
    Metric(
        path="outcome.generated_reward_r",
        label="r of the read and the environment's own reward, generated steps",
        unit=THREE_DECIMALS,
        better="higher",
    ),
    Metric(
        path="outcome.real_reward_residual_r",
        label="reward residual r: the same without what the action alone explains, real steps",
        unit=THREE_DECIMALS,
    ),
    Metric(
        path="outcome.generated_reward_residual_r",
        label="reward residual r: the same without what the action alone explains, generated steps",
        unit=THREE_DECIMALS,
        better="higher",
    ),
    Metric(
        path="outcome.real_false_ends",
        label="false ends of episodes, real steps",
        unit=PER_THOUSAND_STEPS,
    ),
    Metric(
        path="outcome.generated_false_ends",
        label="false ends of episodes, generated steps",
        unit=PER_THOUSAND_STEPS,
        better="lower",
    ),
    Metric(
        path="outcome.real_end_recall",
        label="real ends of episodes that are recognised",
        unit=SHARE,
    ),
    Metric(
        path="outcome.real_end_odds",
        label="ends of episodes that are expected, for every one that came, real steps",
        unit=RATIO,
    ),
    Metric(
        path="outcome.generated_end_odds",
        label="the same, generated steps",
        unit=RATIO,
        better="nearer to 1",
    ),
    Metric(
        path="policies.pearson_r",
        label="policies' returns, world against reference simulator: Pearson's r",
        unit=RATIO,
    ),
    Metric(
        path="policies.rank_r",
        label="policies' returns, world against reference simulator: rank correlation",
        unit=RATIO,
    ),
    Metric(
        path="policies.mmrv",
        label="policies' returns, world against reference simulator: mean maximum rank violation",
        unit=THREE_DECIMALS,
    ),
)
METRICS_BY_PATH = {metric.path: metric for metric in METRICS}
