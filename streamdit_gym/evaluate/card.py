"""The model card of a bundle, with its measured scores.

Takes: a world and its scores.  Gives: text.  Knows nothing of: how the scores were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamdit_gym.bundle.files import update_facts
from streamdit_gym.evaluate.report import horizon_table, lines, plain
from streamdit_gym.files import write_text, writing_to
from streamdit_gym.world import World


def write_card(folder: Path, world: World, scores: dict[str, Any]) -> Path:
    """Write scores into a bundle's ``config.json`` and its model card, each whole or not at all,
    and return the card's path.

    Raises:
        StorageError: if they cannot be written; the bundle is whole.
    """
    text = card(world, scores)
    own = {name: score for name, score in scores.items() if name != "beside"}
    path = folder / "README.md"
    with writing_to(
        folder, "make room; the bundle is whole, and --json and --html have the scores"
    ):
        update_facts(folder, {**world.facts, "scores": plain(own)})
        write_text(path, text)
    return path


def card(world: World, scores: dict[str, Any]) -> str:
    """Return the model card as Markdown."""
    facts, spec, config = world.facts, world.spec, world.model.config
    count = sum(p.numel() for p in world.model.parameters()) / 1e6
    longer = (
        ""
        if world.pipelined_model is None
        else " Another transformer of that kind serves buffers of several chunks."
    )
    frames = f"{facts['training_frames']:,}" if "training_frames" in facts else "some"
    errors = facts.get("heads_on_held_out_real_frames", {})
    heads = "\n".join(
        f"| {name} | {'-' if value is None else f'{value:.3f}'} |" for name, value in errors.items()
    )
    tasks = "\n".join(
        f"* `{name}`: {task.about}; horizon {task.horizon} steps"
        for name, task in spec.tasks.items()
    )
    others = "\n".join(f"| {what} | {much} |" for what, much in lines(scores))
    wrong = [f"* **{fault}**" for fault in scores["faults"]]
    wrong += [
        f"* {p.about}: {p.found:.3g}; asked: {p.asked}"
        for p in scores["promises"]
        if p.kept is False
    ]
    missed = "\n".join(
        ["What a world to trust would do better:", "", *wrong]
        if wrong
        else ["The judge found none."]
    )
    return f"""---
license: apache-2.0
library_name: streamdit_gym
tags: [world-model, reinforcement-learning, video-generation]
---

# {spec.name}

A world of streamdit_gym: {spec.size} x {spec.size} pixels, {spec.fps:g} frames per second, {len(spec.menu)} spoken actions.

    from streamdit_gym import World
    world = World.from_pretrained("{spec.name}")

StreamDiT transformer: {count:.1f} million weights, width {config.width}, depth {config.depth}, {config.rows}x{config.rows} tokens a frame,
{config.references} references. Prompts: {facts.get("prompt_encoder", "not said")}. Trained on {frames} frames of the real
simulator.{longer}

Tasks:

{tasks}

## Measured

{scores["episodes"]} held-out episodes, partition {scores["partition"]}; each is generated from one real frame and the spoken actions.
Values with 95 % intervals. PSNR over the pixels that differ from the episode's first frame; errors are medians, read by a probe trained on
real frames.

{horizon_table(scores)}

| | |
|---|---|
{others}

The heads on held-out real frames (errors are means, in the numbers' own units; accuracies are shares):

| | |
|---|---|
{heads}

## Limits

{missed}

The data are scripted play, not expert play. Errors add up over a rollout: restart from real frames.
"""
