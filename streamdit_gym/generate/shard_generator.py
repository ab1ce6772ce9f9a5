"""Generates shards of episodes with one batched world; one machine and many use the same code."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from streamdit_gym.actions import SpokenBox
from streamdit_gym.agents.policies.load_policy import load_policy
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.episode import NO_PROMPT
from streamdit_gym.data.shard import Shard
from streamdit_gym.envs.drawn_starts import DRAWN, DrawnStarts
from streamdit_gym.errors import ArgumentError, PartitionError
from streamdit_gym.generate.episode_outcomes import outcomes_of
from streamdit_gym.generate.generate_config import GenerateConfig
from streamdit_gym.generate.generated_rollout import (
    Rollout,
    draw_episodes,
    finite_errors,
    is_finite,
    without_faults,
)
from streamdit_gym.generate.generated_shard import EpisodeRow, GeneratedShard
from streamdit_gym.generate.prompt_file import is_prompt_file, read_prompts
from streamdit_gym.generate.prompt_source import (
    PolicyPrompts,
    Prompts,
    PromptSource,
    prompts_of_file,
)
from streamdit_gym.generate.quality import EpisodeQuality
from streamdit_gym.generate.start_frames import Clips, start_images
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.clip import ClipSampler, PromptedFrames
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_protocol import PromptRow
from streamdit_gym.text.prompt_protocol import PromptSource as EmbeddedPrompts
from streamdit_gym.world import World

SEED_OF_ENDS = 1  # apart from that of starts, noise and actions
CHECK_EVERY = 8  # frames between two self-consistency errors
FRAMES_PER_DECODE = 512
MAX_SHARD_BYTES = 2**35  # pixels of a shard, which lie in memory while it is generated


class ShardGenerator:
    """Generates shards.

    Args:
        config: what to generate.
        phrases: all phrases of the prompts, in the data set's order.

    Raises:
        StreamDiTError: if anything that the config names does not exist.
    """

    def __init__(self, config: GenerateConfig, phrases: list[str]) -> None:
        self.phrase_numbers = {phrase: number for number, phrase in enumerate(phrases)}
        self.world = World.from_pretrained(config.world, device=config.device)
        self.config = config.for_world(self.world.spec)
        self._check_memory()
        self.partition = partition_for(self.world, config.partition)
        if self.partition.chunk_frames != 1:
            raise PartitionError(
                "an action is for one frame",
                given=str(self.partition),
                allowed="c = 1",
                remedy="choose a partition with c1",
            )
        self.source = self._prompt_source()
        self._check_source()
        self.engine = self._engine(self.world.prompts)
        frame_size = self.world.spec.frame_size
        self.clips = None
        if config.over is not None:
            self.clips = Clips(Dataset(config.over), config.steps, frame_size)
        self.images = None
        if config.images is not None:
            self.images = start_images(Path(config.images), frame_size)

    def _check_memory(self) -> None:
        config = self.config
        frame_bytes = math.prod(self.world.spec.frame_shape)
        max_frames = max(1, MAX_SHARD_BYTES // frame_bytes)
        num_frames = config.batch * (config.steps + 1)
        if num_frames > max_frames:
            raise ArgumentError(
                "a shard of so many frames does not fit in memory",
                given=f"{config.batch} episodes of {config.steps} steps",
                allowed=f"{max_frames} frames in all",
                remedy="lower the batch or --steps",
            )

    def _prompt_source(self) -> PromptSource:
        config = self.config
        if is_prompt_file(config.policy):
            return prompts_of_file(read_prompts(Path(config.policy)), self.world)
        policy = load_policy(
            config.policy,
            lambda: self.world,
            config.task,
            in_streams=True,
            trust_agents=config.trust_agents,
        )
        return PolicyPrompts(policy, self.world)

    def _check_source(self) -> None:
        """Refuse policies that look at frames which are not drawn yet."""
        if self.config.clip is not None and self.source.looks_at_frames:
            raise ArgumentError(
                "all frames of a clip are drawn at once, after all of its prompts",
                given=f"policy {self.config.policy}",
                allowed="policies that look at no frame: random, or a file of prompts",
                remedy="leave clip out: streams show each frame before the next prompt",
            )

    def _engine(self, table: EmbeddedPrompts) -> Engine:
        model = self.world.model_for(self.partition)
        autocast = self.config.dtype == "bfloat16"
        # the idle prompt is a row of the world's own phrases, which every table begins with
        idle = self.world.idle_prompt
        return Engine(model, table, self.partition, idle=idle, autocast=autocast)

    def _engine_for(self, episodes: list[int]) -> Engine:
        """Return the engine of a shard.

        Prompts of a file have a table for each shard, so that nothing depends on what was generated
        before.
        """
        table = self.world.table
        embedded = table.phrases
        phrases = self.source.phrases_of(episodes)
        if phrases <= set(embedded):
            return self.engine
        most = len(embedded) + len(phrases)
        own_table = table.only(embedded, most=most)
        own_table.rows(sorted(phrases))
        return self._engine(own_table)

    def _episode_numbers(self, index: int) -> list[int]:
        first = index * self.config.batch
        return list(range(first, first + self.config.num_rows(index)))

    @torch.no_grad()
    def generate(self, index: int) -> GeneratedShard:
        """Return the episodes of a shard."""
        numbers = self._episode_numbers(index)
        is_streamed = self.config.clip is None
        roll_out = self._stream_episodes if is_streamed else self._draw_episodes
        rollout = roll_out(index, numbers)
        readout = self.world.readout(rollout.latents)
        states, scores = (numbers.float().cpu().numpy() for numbers in readout)
        shard = self._shard_of(rollout, states, scores)
        rng = np.random.default_rng([self.config.seed, index, SEED_OF_ENDS])
        outcomes = outcomes_of(
            self.world, self.config.task, rollout.latents, shard.actions, scores, rng
        )
        shard = replace(shard, rewards=outcomes.rewards)
        rows = []
        for row in range(len(numbers)):
            rows.append(self._row_of(index, row, shard, rollout, outcomes.successes[row]))
        return GeneratedShard(shard=shard, rows=rows)

    def _draw_episodes(self, index: int, episodes: list[int]) -> Rollout:
        """Draw the clips of a shard."""
        config = self.config
        assert config.clip is not None
        num_rows = len(episodes)
        engine = self._engine_for(episodes)
        rng = np.random.default_rng([config.seed, index])
        start = None
        if config.start != DRAWN:
            start = self._idle_frames(engine, self._start_latents(rng, num_rows)[:, None])
        noise = self._noise(rng, num_rows)
        self.source.begin(episodes, rng)
        steps = [self.source.next(None) for _ in range(config.steps)]
        prompts = [self._prompt_rows(engine, step) for step in steps]
        if start is None:
            idle_prompts = engine.idle_prompts(num_rows, 1)[:, 0]
            prompts = [idle_prompts.to(prompts[0]), *prompts]
        sampler = ClipSampler(
            engine.sampler, clip_frames=config.clip, micro_steps=config.clip_micro_steps
        )
        return draw_episodes(sampler, steps, torch.stack(prompts, 1), noise, start)

    def _stream_episodes(self, index: int, episodes: list[int]) -> Rollout:
        """Run the streams of a shard."""
        config = self.config
        num_rows = len(episodes)
        engine = self._engine_for(episodes)
        rng = np.random.default_rng([config.seed, index])
        clips = None if self.clips is None else self._clip_latents(self.clips, episodes)
        start, noise = self._start(engine, rng, num_rows, clips)
        session = engine.start(start.latents, start.prompts, noise)
        idle_prompts = engine.idle_prompts(num_rows, 1)
        self.source.begin(episodes, rng)
        frames = [without_faults(start.latents[:, -1:])]
        chosen: list[Prompts] = []
        errors = []
        is_faulty = ~is_finite(start.latents)
        latency = self.partition.chunks - 1
        for step in range(config.steps + latency):
            prompt_rows = idle_prompts[:, 0]
            if step < config.steps:
                prompts = self.source.next(frames[-1])
                prompt_rows = self._prompt_rows(engine, prompts)
                chosen.append(prompts)
            # the session refuses clips where N > 1
            clip = None if clips is None else clips[:, step + 1 : step + 2]
            frame = engine.tick(session, prompt_rows, clip, config.strength)
            is_faulty |= ~is_finite(frame)
            if step < latency:  # in flight before the first prompt
                continue
            frames.append(without_faults(frame))
            num_new = len(frames) - 1
            if num_new % CHECK_EVERY == 0 or num_new == config.steps:
                error = engine.self_consistency_error(session)
                errors.append(error.cpu().numpy())
        return Rollout(
            latents=torch.cat(frames, 1),
            prompts=chosen,
            self_consistency_errors=finite_errors(errors),
            is_faulty=is_faulty,
        )

    def _start(
        self,
        engine: Engine,
        rng: np.random.Generator,
        num_rows: int,
        clips: Float[Tensor, "n f c g g"] | None,
    ) -> tuple[PromptedFrames, Noise]:
        """Return the frames that streams begin with, and the noise that follows."""
        if self.config.start == DRAWN:
            noise = self._noise(rng, num_rows)
            return DrawnStarts(self.world, engine).draw(noise), noise
        first = self._start_latents(rng, num_rows) if clips is None else clips[:, 0]
        return self._idle_frames(engine, first[:, None]), self._noise(rng, num_rows)

    def _noise(self, rng: np.random.Generator, num_rows: int) -> Noise:
        seeds = rng.integers(2**63, size=num_rows)
        return Noise.seeded(seeds.tolist()).to(self.world.device)

    def _idle_frames(self, engine: Engine, latents: Float[Tensor, "n f c g g"]) -> PromptedFrames:
        """Return frames that no action led to."""
        prompts = engine.idle_prompts(*latents.shape[:2])
        return PromptedFrames(latents=latents, prompts=prompts)

    def _prompt_rows(self, engine: Engine, prompts: Prompts) -> PromptRow:
        """Return prompts as sessions hold them."""
        if isinstance(self.world.spec.actions, SpokenBox):
            return self.world.action_prompts(prompts.actions)
        return engine.table.of_texts(prompts.phrases)

    def _shard_of(
        self,
        rollout: Rollout,
        states: Float[np.ndarray, "n f s"],
        scores: Float[np.ndarray, "n f m"],
    ) -> Shard:
        """Return the arrays of a shard."""
        actions = []
        numbers = []
        for prompts in rollout.prompts:
            actions.append(prompts.actions)
            numbers.append([self._phrase_number(phrase) for phrase in prompts.phrases])
        language = self.world.spec.actions
        return Shard(
            frames=self._decode(rollout.latents),
            actions=np.stack(actions, 1).astype(language.dtype),
            states=states,
            scores=scores,
            rewards=np.zeros((*scores.shape[:1], len(actions), len(self.world.spec.tasks))),
            prompts=np.array(numbers, dtype=np.int32).T,
            lengths=np.full(len(scores), len(actions), dtype=np.int32),
            terminated=np.zeros(len(scores), dtype=bool),
        )

    def _row_of(
        self,
        index: int,
        row: int,
        shard: Shard,
        rollout: Rollout,
        successes: Bool[np.ndarray, " s"],
    ) -> EpisodeRow:
        """Return an episode's entries in the manifest."""
        config = self.config
        prompts = [step.phrases[row] for step in rollout.prompts]
        menu_share = self.source.menu_share(prompts)
        quality = EpisodeQuality(
            frames=shard.frames[row],
            self_consistency_errors=rollout.self_consistency_errors[row],
            rewards=self._task_rewards(shard.rewards[row]),
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

    def _phrase_number(self, phrase: str) -> int:
        """Return a phrase's number; the actions of a box are their own prompts."""
        is_box = isinstance(self.world.spec.actions, SpokenBox)
        return NO_PROMPT if is_box else self.phrase_numbers[phrase]

    def _task_rewards(self, rewards: Float[np.ndarray, "s k"]) -> Float[np.ndarray, " s"]:
        """Return an episode's rewards of the task that counts; zeros without one."""
        if not self.config.task:
            return np.zeros(len(rewards), dtype=np.float32)
        column: Float[np.ndarray, " s"] = rewards[
            :, sorted(self.world.spec.tasks).index(self.config.task)
        ]
        return column

    def _clip_latents(self, clips: Clips, episodes: list[int]) -> Float[Tensor, "n f c g g"]:
        """Return the latents of the clips that episodes are drawn over."""
        codec = self.world.codec
        device = self.world.device
        latents = []
        for number in episodes:
            clip = torch.from_numpy(clips.clip(number))
            encoded = codec.encode(clip[None].to(device))
            latents.append(encoded)
        return torch.cat(latents).float()

    def _start_latents(self, rng: np.random.Generator, num_rows: int) -> Float[Tensor, "n c g g"]:
        """Return random start frames: the user's own, or the world's."""
        if self.images is None:
            bank = self.world.starts.latents
            bank_rows = rng.integers(len(bank), size=num_rows)
            return bank[torch.from_numpy(bank_rows)]
        image_rows = rng.integers(len(self.images), size=num_rows)
        images = torch.from_numpy(self.images[image_rows])
        encoded = self.world.codec.encode(images[:, None].to(self.world.device))
        return encoded[:, 0].float()

    def _decode(self, latents: Float[Tensor, "n f c g g"]) -> UInt8[np.ndarray, "n f h w 3"]:
        """Return frames, decoded some episodes at a time."""
        device_type = self.world.device.type
        episodes_per_decode = max(1, FRAMES_PER_DECODE // latents.shape[1])
        frames = []
        for part in latents.split(episodes_per_decode):
            with torch.autocast(device_type, torch.bfloat16, enabled=self.engine.autocast):
                decoded = self.world.codec.decode(part)
            frames.append(decoded.cpu().numpy())
        return np.concatenate(frames)
