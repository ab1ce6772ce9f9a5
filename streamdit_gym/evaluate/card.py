"""The model card of a bundle, with its measured scores and its limits."""

from __future__ import annotations

from pathlib import Path

from streamdit_gym.actions import SpokenBox
from streamdit_gym.bundle.files import update_facts
from streamdit_gym.definition import WorldSpec
from streamdit_gym.evaluate.report import (
    criteria_summary,
    criteria_table,
    horizon_table,
    markdown_table,
    overall_table,
)
from streamdit_gym.evaluate.schema import Scores
from streamdit_gym.evaluate.unmeasured import unmeasured
from streamdit_gym.files import write_text, writing_to
from streamdit_gym.world import World

KNOWN_LIMITS = (
    "It knows what its training data show: what their exploration hardly visits is poor.",
    "Errors add up over a rollout: restart from real frames.",
)
SIMULATED = "It was evaluated on episodes like its training data, against one simulator."
RECORDED = "It was evaluated on held-out recordings, like its training data; there is no simulator."
NOT_IN_FACTS = ("comparison",)


def write_card(folder: Path, world: World, scores: Scores) -> Path:
    """Write scores into a bundle's ``config.json`` and its model card.

    Each file is written whole or not at all.

    Returns:
        The path of the card.

    Raises:
        StorageError: if they cannot be written; the bundle is whole.
    """
    text = card(world, scores)
    content = scores.to_dict()
    own_scores = {name: content[name] for name in content if name not in NOT_IN_FACTS}
    path = folder / "README.md"
    with writing_to(
        folder, "make room; the bundle is whole, and the folder of --out has the scores"
    ):
        update_facts(folder, {**world.facts, "scores": own_scores})
        write_text(path, text)
    return path


def card(world: World, scores: Scores) -> str:
    """Return the model card as Markdown."""
    return f"""---
license: apache-2.0
library_name: streamdit_gym
tags: [world-model, reinforcement-learning, video-generation]
---

{_description(world)}

## Measured

{scores.episodes} held-out episodes, partition {scores.partition}; each is generated from one real
frame and the prompted actions. Values with 95 % intervals. PSNR is in dB over the pixels that
differ from the episode's first frame, or over whole frames; errors are medians, read by a probe
that was trained on real frames.

{markdown_table(horizon_table(scores))}

{markdown_table([["metric", "value"], *overall_table(scores)])}

Acceptance criteria: {criteria_summary(scores)}.

{markdown_table([["outcome", "metric", "value", "bound"], *criteria_table(scores)])}

{_readout_errors(world)}
## Limits

{_limits(scores)}
"""


def _description(world: World) -> str:
    spec = world.spec
    height, width = spec.frame_size
    config = world.model.config
    rows, columns = config.token_grid
    million_weights = sum(weight.numel() for weight in world.model.parameters()) / 1e6
    tasks = "\n".join(
        f"* `{name}`: {task.about}; horizon {task.horizon} steps"
        for name, task in spec.tasks.items()
    )
    frames = "some"
    if "training_frames" in world.facts:
        frames = f"{world.facts['training_frames']:,}"
    pipelined = ""
    if world.pipelined_model is not None:
        pipelined = "\nAnother transformer of that kind serves buffers of several chunks."
    prompt_encoder = world.facts.get("prompt_encoder", "unknown")
    return f"""# {spec.name}

A world of streamdit_gym: {height} x {width} pixels (height x width), {spec.fps:g} frames per
second, {_actions_text(spec)}.

    from streamdit_gym import World
    world = World.from_pretrained("{spec.name}")

StreamDiT transformer: {million_weights:.1f} million weights, width {config.width},
depth {config.depth}, {rows}x{columns} tokens a frame,
{config.references} reference frames.
Prompt encoder: {prompt_encoder}. Trained on {frames} frames of the real simulator.{pipelined}

Tasks:

{tasks}"""


def _actions_text(spec: WorldSpec) -> str:
    if isinstance(spec.actions, SpokenBox):
        names = ", ".join(spec.actions.names)
        return f"continuous actions of {len(spec.actions)} dimensions ({names}), each said in words"
    return f"{len(spec.menu)} actions, each prompted by a phrase"


def _readout_errors(world: World) -> str:
    """Return what training measured of the readout; nothing if it measured nothing."""
    errors = world.facts.get("heads_on_held_out_real_frames", {})
    if not errors:
        return ""
    table = [["readout", "error or accuracy"]]
    for name, value in errors.items():
        table.append([name, "-" if value is None else f"{value:.3f}"])
    return f"""The readout on held-out real frames (errors are means, in the numbers' own units):

{markdown_table(table)}
"""


def _limits(scores: Scores) -> str:
    limits = [f"**{name}**" for name in scores.failure_modes]
    not_measured = []
    for outcome, label, value, bound in criteria_table(scores):
        if outcome == "failed":
            limits.append(f"Failed: {label}: {value}; asked: {bound}.")
        if outcome == "open":
            not_measured.append(label)
    limits += KNOWN_LIMITS
    limits.append(SIMULATED if scores.simulated else RECORDED)
    limits += [f"Not measured: {line}." for line in [*not_measured, *unmeasured(scores)]]
    return "\n".join(f"* {limit}" for limit in limits)
