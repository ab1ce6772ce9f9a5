"""Generates shards of episodes with one batched world; one machine and many use the same code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from streamdit_gym.agents.policies.load_policy import load_policy
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.rewards import task_rewards
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import ArgumentError, PartitionError
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.generate.generated_shard import EpisodeRow, GeneratedShard
from streamdit_gym.generate.prompt_file import is_prompt_file, read_prompts
from streamdit_gym.generate.prompt_source import FilePrompts, PolicyPrompts, PromptSource
from streamdit_gym.generate.quality import EpisodeQuality
from streamdit_gym.generate.start_frames import Clips, start_images
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.world import World

CHECK_EVERY = 8  # frames between two self-consistency errors
FRAMES_PER_DECODE = 512
MAX_SHARD_BYTES = 2**35  # pixels of a shard, which lie in memory while it is generated


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A shard's streams, from their first frames to their last.

    Attributes:
        latents: all frames.
        actions: one array per step.
        prompts: one list per step.
        self_consistency_errors: of every stream at some of its frames.
        is_faulty: which streams had a frame that is not finite.
    """

    latents: Float[Tensor, "n f c g g"]
    actions: list[np.ndarray]
    prompts: list[list[str]]
    self_consistency_errors: Float[np.ndarray, "n k"]
    is_faulty: Bool[Tensor, " n"]


class ShardGenerator:
    """Generates shards.

    Args:
        config: what to generate.
        phrases: all phrases of the prompts, in the data set's order.

    Raises:
        StreamDiTError: if anything that the config names does not exist.
    """

    def __init__(self, config: GenerateConfig, phrases: list[str]) -> None:
        self.config = config
        self.phrase_numbers = {phrase: number for number, phrase in enumerate(phrases)}
        self.world = World.from_pretrained(config.world, device=config.device)
        self._check_memory()
        self.partition = partition(config.partition)
        if self.partition.chunk_frames != 1:
            raise PartitionError(
                "an action is for one frame",
                given=str(self.partition),
                allowed="c = 1",
                remedy="choose a partition with c1",
            )
        self.source = self._prompt_source()
        self.engine = self._engine(self.world.table)
        self.clips = None
        if config.over is not None:
            self.clips = Clips(Dataset(config.over), config.steps, self.world.spec.size)
        self.images = None
        if config.images is not None:
            self.images = start_images(Path(config.images), self.world.spec.size)

    def _check_memory(self) -> None:
        config = self.config
        frame_bytes = 3 * self.world.spec.size**2
        max_frames = max(1, MAX_SHARD_BYTES // frame_bytes)
        if config.batch * (config.steps + 1) > max_frames:
            raise ArgumentError(
                "a shard of so many frames does not fit in memory",
                given=f"{config.batch} episodes of {config.steps} steps",
                allowed=f"{max_frames} frames in all",
                remedy="lower the batch or --steps",
            )

    def _prompt_source(self) -> PromptSource:
        config = self.config
        if is_prompt_file(config.policy):
            return FilePrompts(read_prompts(Path(config.policy)), self.world)
        policy = load_policy(
            config.policy,
            lambda: self.world,
            config.task,
            in_streams=True,
            trust_agents=config.trust_agents,
        )
        return PolicyPrompts(policy, self.world)

    def _engine(self, table: PromptTable) -> Engine:
        idle_phrase = self.world.spec.menu[0][0]
        return Engine(
            self.world.model_for(self.partition),
            table,
            self.partition,
            idle=int(table.rows([idle_phrase])[0]),
            autocast=self.config.dtype == "bfloat16",
        )

    def _engine_for(self, episodes: list[int]) -> Engine:
        """Return the engine of a shard.

        Prompts of a file have a table for each shard, so that nothing depends on what was generated
        before.
        """
        table = self.world.table
        phrases = self.source.phrases_of(episodes)
        if phrases <= set(table.phrases):
            return self.engine
        own_table = table.only(table.phrases, most=len(table.phrases) + len(phrases))
        own_table.rows(sorted(phrases))
        return self._engine(own_table)

    def _episode_numbers(self, index: int) -> list[int]:
        first = index * self.config.batch
        return list(range(first, first + self.config.num_rows(index)))

    @torch.no_grad()
    def generate(self, index: int) -> GeneratedShard:
        """Return the episodes of a shard."""
        rollout = self._roll_out(index)
        states, scores = self.world.readout(rollout.latents)
        shard = self._shard_of(rollout, states.float().cpu().numpy(), scores.float().cpu().numpy())
        numbers = self._episode_numbers(index)
        rows = [self._row_of(index, row, shard, rollout) for row in range(len(numbers))]
        return GeneratedShard(shard=shard, rows=rows)

    def _roll_out(self, index: int) -> Rollout:
        """Run the streams of a shard."""
        config = self.config
        episodes = self._episode_numbers(index)
        num_rows = len(episodes)
        engine = self._engine_for(episodes)
        latency = self.partition.chunks - 1
        rng = np.random.default_rng([config.seed, index])
        clips = None if self.clips is None else self._clip_latents(self.clips, episodes)
        start = self._start_latents(rng, num_rows) if clips is None else clips[:, 0]
        noise = Noise.seeded(rng.integers(2**63, size=num_rows).tolist())
        idle_prompts = torch.full((num_rows, 1), engine.idle)
        session = engine.start(start[:, None], idle_prompts, noise)
        self.source.begin(episodes, rng)
        frames = [start[:, None]]
        actions = []
        prompts = []
        errors = []
        is_faulty = torch.zeros(num_rows, dtype=torch.bool, device=start.device)
        for step in range(config.steps + latency):
            phrases = [self.world.spec.menu[0][0]] * num_rows
            if step < config.steps:
                chosen = self.source.next(frames[-1])
                phrases = chosen.phrases
                actions.append(chosen.actions)
                prompts.append(phrases)
            # the session refuses clips where N > 1
            clip = None if clips is None else clips[:, step + 1 : step + 2]
            frame = engine.tick(session, engine.table.rows(phrases), clip, config.strength)
            is_faulty |= ~frame.flatten(1).isfinite().all(1)
            # policies and readout need numbers; such an episode is not kept
            frame = frame.nan_to_num(0, 0, 0)
            if step < latency:  # in flight before the first prompt
                continue
            frames.append(frame)
            if (len(frames) - 1) % CHECK_EVERY == 0 or len(frames) == config.steps + 1:
                errors.append(engine.self_consistency_error(session).cpu().numpy())
        return Rollout(
            latents=torch.cat(frames, 1),
            actions=actions,
            prompts=prompts,
            self_consistency_errors=np.nan_to_num(np.stack(errors, 1), posinf=0.0, neginf=0.0),
            is_faulty=is_faulty,
        )

    def _shard_of(
        self,
        rollout: Rollout,
        states: Float[np.ndarray, "n f s"],
        scores: Float[np.ndarray, "n f m"],
    ) -> Shard:
        """Return the arrays of a shard."""
        spec = self.world.spec
        rewards = until_success(spec, task_rewards(spec, scores[:, :-1], scores[:, 1:]), scores)
        numbers = [[self.phrase_numbers[text] for text in texts] for texts in rollout.prompts]
        return Shard(
            frames=self._decode(rollout.latents),
            actions=np.stack(rollout.actions, 1).astype(np.int16),
            states=states,
            scores=scores,
            rewards=rewards,
            prompts=np.array(numbers, dtype=np.int32).T,
        )

    def _row_of(self, index: int, row: int, shard: Shard, rollout: Rollout) -> EpisodeRow:
        """Return an episode's entries in the manifest."""
        config = self.config
        spec = self.world.spec
        task = spec.tasks[config.task]
        success_scores = shard.scores[row, 1:, spec.score_names.index(task.success)]
        successes = success_scores > task.threshold
        prompts = [phrases[row] for phrases in rollout.prompts]
        menu_share = self.source.menu_share(prompts)
        quality = EpisodeQuality(
            frames=shard.frames[row],
            self_consistency_errors=rollout.self_consistency_errors[row],
            rewards=shard.rewards[row, :, sorted(spec.tasks).index(config.task)],
            success=bool(successes.any()),
            menu=menu_share,
        )
        return EpisodeRow(
            shard=index,
            batch_row=row,
            seed=index * config.batch + row,
            policy=config.policy,
            task=config.task,
            prompts=prompts,
            actions_resolved=menu_share < 1,
            world_fault=bool(rollout.is_faulty[row]),
            successes=successes.tolist(),
            quality=quality.metrics(),
        )

    def _clip_latents(self, clips: Clips, episodes: list[int]) -> Float[Tensor, "n f c g g"]:
        """Return the latents of the clips that episodes are drawn over."""
        latents = []
        for number in episodes:
            clip = torch.from_numpy(clips.clip(number))[None]
            latents.append(self.world.codec.encode(clip.to(self.world.device)))
        return torch.cat(latents).float()

    def _start_latents(self, rng: np.random.Generator, num_rows: int) -> Float[Tensor, "n c g g"]:
        if self.images is None:
            bank = self.world.starts.latents
            return bank[torch.from_numpy(rng.integers(len(bank), size=num_rows))]
        images = torch.from_numpy(self.images[rng.integers(len(self.images), size=num_rows)])
        return self.world.codec.encode(images[:, None].to(self.world.device))[:, 0].float()

    def _decode(self, latents: Float[Tensor, "n f c g g"]) -> UInt8[np.ndarray, "n f h w 3"]:
        """Return frames, decoded some episodes at a time."""
        episodes_per_decode = max(1, FRAMES_PER_DECODE // latents.shape[1])
        parts = []
        for part in latents.split(episodes_per_decode):
            with torch.autocast(
                self.world.device.type, torch.bfloat16, enabled=self.engine.autocast
            ):
                parts.append(self.world.codec.decode(part).cpu().numpy())
        return np.concatenate(parts)


def until_success(
    spec: WorldSpec, rewards: Float[np.ndarray, "e s k"], scores: Float[np.ndarray, "e g m"]
) -> Float[np.ndarray, "e s k"]:
    """Return every task's rewards up to its first success, and zeros after it.

    There an environment's episode would have ended.
    """
    rewards = rewards.copy()
    for column, name in enumerate(sorted(spec.tasks)):
        task = spec.tasks[name]
        successes = scores[:, 1:, spec.score_names.index(task.success)] > task.threshold
        is_over = np.logical_or.accumulate(successes, axis=1)
        rewards[:, 1:, column][is_over[:, :-1]] = 0
    return rewards
