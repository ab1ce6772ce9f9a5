"""Put the trained parts of a world together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from streamdit_gym.data.rewards import environment_task
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.readout import Readout
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.transition_readout import TransitionReadout
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.phrases import bundled_phrases
from streamdit_gym.train.stage_context import StageContext
from streamdit_gym.train.stages.latents_stage import EncodedData
from streamdit_gym.train.stages.readout_stage import readout_errors
from streamdit_gym.train.stages.transition_stage import transition_errors
from streamdit_gym.world import Starts, World


@dataclass(frozen=True, kw_only=True)
class TrainedParts:
    """What the stages have trained, and the embeddings of the data set's phrases."""

    model: StreamDiT
    codec: ConvCodec
    readout: Readout
    transitions: TransitionReadout | None
    table: PromptTable


def assemble_world(
    context: StageContext, parts: TrainedParts, encoded: EncodedData, episodes: LatentEpisodes
) -> World:
    """Return the world.

    Args:
        context: of the training.
        parts: what was trained.
        encoded: the recorded data as latents.
        episodes: all that the transformer learned from.
    """
    transitions = parts.transitions
    return World(
        spec=context.inputs.spec,
        model=parts.model.requires_grad_(False),
        codec=parts.codec.requires_grad_(False),
        readout=parts.readout.requires_grad_(False),
        transitions=None if transitions is None else transitions.requires_grad_(False),
        table=bundled_table(context, parts.table),
        starts=start_frames(context, encoded),
        facts=world_facts(context, parts, encoded, episodes),
    )


def bundled_table(context: StageContext, table: PromptTable) -> PromptTable:
    """Return the embeddings that the bundle holds."""
    phrases = bundled_phrases(context.inputs.spec)
    rows = table.rows(phrases)
    tokens = table.tokens[rows]
    mask = table.mask[rows]
    pooled = table.pooled[rows]
    bundled = PromptTable(phrases, tokens, mask, pooled)
    return bundled.to(context.device, torch.float32)


def start_frames(context: StageContext, encoded: EncodedData) -> Starts:
    """Return the frames that environments start from."""
    episodes = encoded.train
    meta = context.inputs.dataset.meta
    rows = start_episodes(meta, len(episodes))
    rows = rows[: context.recipe.max_start_frames]
    latents = episodes.latents[rows, 0]
    latents = latents.to(context.device, torch.float32)
    states = episodes.states[rows, 0]
    return Starts(latents=latents, states=states)


def start_episodes(meta: dict[str, Any], num_episodes: int) -> list[int]:
    """Return the episodes that begin as an environment may: not the hard starts at a shard's end.

    Args:
        meta: of the data set.
        num_episodes: to choose from.
    """
    per_shard = meta["episodes"]
    usual = per_shard - meta.get("drilled", 0)
    return [number for number in range(num_episodes) if number % per_shard < usual]


def world_facts(
    context: StageContext, parts: TrainedParts, encoded: EncodedData, episodes: LatentEpisodes
) -> dict[str, Any]:
    """Return what the bundle says about its training."""
    preset_name = context.recipe.preset
    if context.base_world is not None and context.recipe.keeps_transformer:
        preset_name = context.base_world.facts.get("preset", preset_name)
    facts: dict[str, Any] = {
        "license": "Apache-2.0",
        "prompt_encoder": "all-MiniLM-L6-v2",
        "preset": preset_name,
        "training_frames": int(episodes.lengths.sum()),
        "corrected_episodes": int((episodes.num_generated > 0).sum()),
        "heads_on_held_out_real_frames": readout_errors(
            parts.readout, encoded.held_out, context.device
        ),
    }
    if parts.transitions is not None:
        facts["transitions_on_held_out_real_frames"] = _transition_errors(
            context, parts.transitions, encoded.held_out
        )
    return facts


def _transition_errors(
    context: StageContext, transitions: TransitionReadout, held_out: LatentEpisodes
) -> dict[str, float]:
    own = environment_task(context.inputs.spec)
    assert own is not None
    return transition_errors(transitions, held_out, *own, context.device)
