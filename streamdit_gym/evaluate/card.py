"""The model card of a bundle, with its measured scores.

Takes: a world and its scores.  Gives: text.  Knows nothing of: how the scores were measured.
"""

from __future__ import annotations

from typing import Any

from streamdit_gym.world import World


def table(scores: dict[str, Any]) -> str:
    """Return the scores over horizons as a table that reads well as text and as Markdown."""
    lines = [
        "| horizon | generated | copy the first | codec only | pusher | block | angle |",
        "|--------:|----------:|---------------:|-----------:|-------:|------:|------:|",
    ]
    for row in scores["fidelity"]:
        worse = " (worse than copying)" if row["generated_db"] < row["copy_db"] else ""
        lines.append(
            f"| {row['horizon']:7d} | {row['generated_db']:6.1f} dB | {row['copy_db']:11.1f} dB | {row['codec_db']:7.1f} dB "
            f"| {row['pusher_px']:3.1f} px | {row['block_px']:2.1f} px | {row['block_degrees']:4.0f}° |{worse}"
        )
    lines.append("")
    for steps, share in scores["readback_generated"].items():
        lines.append(f"action read-back over {steps} steps: {100 * share:.1f} % on generated frames")
    lines.append(f"action read-back on real frames (ceiling): {100 * scores['readback_real']:.1f} %; chance is 11.1 %")
    return "\n".join(lines)


def card(world: World, scores: dict[str, Any]) -> str:
    """Return the model card as Markdown."""
    facts, spec, config = world.facts, world.spec, world.model.config
    count = sum(p.numel() for p in world.model.parameters()) / 1e6
    heads = "\n".join(f"| {name} | {value:.3f} |" for name, value in facts["heads_on_held_out_real_frames"].items())
    tasks = "\n".join(f"* `{name}`: {task.about}; horizon {task.horizon} steps" for name, task in spec.tasks.items())
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
{config.references} references. Prompts: {facts["prompt_encoder"]}. Trained on {facts["training_frames"]:,} frames of the real simulator.

Tasks:

{tasks}

## Measured

{scores["episodes"]} held-out episodes, partition {scores["partition"]}; each is generated from one real frame and the spoken actions.
PSNR over the pixels that differ from the episode's first frame; state errors are medians, read by the world's own probe.

{table(scores)}

The heads on held-out real frames (errors are means, in the numbers' own units; accuracies are shares):

| | |
|---|---|
{heads}

## Limits

Errors add up over a rollout: look at the horizons above before trusting long ones, and restart from real frames. The data are scripted
play, not expert play.
"""
