"""Makes shards of episodes with one batched world; the same worker serves one machine and many.

Takes: a shard's number.  Gives: its episodes.  Knows nothing of: files, other workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from streamdit_gym.data.dataset import Dataset, Shard
from streamdit_gym.data.recorder import reward
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.generate.flags import flags
from streamdit_gym.generate.speakers import NO_ACTION, act_of, read_prompts
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.world import World

LOOK_EVERY = 8  # frames between second looks
DECODED = 512  # frames decoded at once


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What to generate.

    Attributes:
        world: shipped name, folder or Hub id.
        episodes: how many in all.
        steps: frames per episode, beside the first.
        batch: episodes per shard; they are made as one batch, so the data depend on it.
        seed: a shard's content depends on the seed and the shard's number alone.
        player: see `act_of`; or a file of prompts (``.jsonl``).
        task: whose reward is kept as *the* reward, and what a script plays.
        partition: how to stream.
        images: folder of start frames; None: the world's own bank.
        over: data set of clips to draw over (video to video); episode i is drawn over its clip i, from the clip's first frame.
        strength: how much of those clips is replaced by noise, above 0 to 1.
        device: where the world runs.
        dtype: ``"float32"`` or ``"bfloat16"``.
    """

    world: str = "PushT"
    episodes: int = 64
    steps: int = 64
    batch: int = 32
    seed: int = 0
    player: str = "random"
    task: str = "push"
    partition: str = "reactive"
    images: str | None = None
    over: str | None = None
    strength: float = 0.5
    device: str = "cpu"
    dtype: str = "float32"

    def rows(self, index: int) -> int:
        """Return how many episodes a shard has."""
        return min(self.batch, self.episodes - index * self.batch)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A shard's episodes, and what is to be said about each."""

    shard: Shard
    rows: list[dict[str, Any]] = field(default_factory=list)


class Worker:
    """Makes shards.

    Args:
        config: what to generate.
        phrases: every phrase that may be said, in the data set's order.

    Raises:
        StreamDiTError: if anything that the config names does not exist.
    """

    def __init__(self, config: GenerateConfig, phrases: list[str]) -> None:
        self.config, self.number = config, {phrase: i for i, phrase in enumerate(phrases)}
        self.world = World.from_pretrained(config.world, device=config.device)
        table = self.world.table
        idle = int(table.rows([self.world.spec.menu[0][0]])[0])
        self.engine = Engine(self.world.model, table, partition(config.partition), idle=idle, autocast=config.dtype == "bfloat16")
        carried = set(table.phrases)
        self.ways = [[phrase for phrase in menu if phrase in carried] for menu in self.world.spec.menu]
        self.clips = None if config.over is None else Dataset(config.over)
        if self.clips is not None:
            check_size(self.clips, self.world.spec.size)
        self.prompts = read_prompts(Path(config.player)) if config.player.endswith(".jsonl") else None

    @torch.no_grad()
    def make(self, index: int) -> Made:
        """Return the episodes of a shard."""
        config, spec = self.config, self.world.spec
        rows = config.rows(index)
        rng = np.random.default_rng([config.seed, index])
        over = None if self.clips is None else self._clips(index, rows)
        latents = self._starts(rng, rows) if over is None else over[:, 0]
        noise = [torch.Generator().manual_seed(int(seed)) for seed in rng.integers(2**63, size=rows)]
        session = self.engine.start(latents[:, None], torch.full((rows, 1), self.engine.idle), noise)
        act = None if self.prompts else act_of(config.player, self.world, config.task, rng, rows)
        clean, actions, said, doubts = [latents[:, None]], [], [], []
        for step in range(config.steps):
            chosen, phrases = self._say(act, clean[-1], index, step, rng, rows)
            drawn = None if over is None else over[:, step + 1 : step + 2]
            clean.append(self.engine.tick(session, self.world.table.rows(phrases), drawn, config.strength))
            if step % LOOK_EVERY == LOOK_EVERY - 1 or step == config.steps - 1:
                doubts.append(self.engine.disagreement(session).cpu().numpy())
            actions.append(chosen)
            said.append(phrases)
        seen = torch.cat(clean, 1)
        states, scores = (part.float().cpu().numpy() for part in self.world.heads(seen))
        rewards = reward(spec, scores[:, :-1], scores[:, 1:])
        frames = np.concatenate([self._decoded(part) for part in seen.split(max(1, DECODED // seen.shape[1]))])
        done = scores[:, 1:, spec.score_names.index(spec.tasks[config.task].success)] > spec.tasks[config.task].threshold
        shard = Shard(
            frames=frames, actions=np.stack(actions, 1).astype(np.int16), states=states, scores=scores, rewards=rewards,
            prompts=np.array([[self.number[phrase] for phrase in phrases] for phrases in said], dtype=np.int32).T,
        )  # fmt: skip
        column, looks = sorted(spec.tasks).index(config.task), np.stack(doubts, 1)
        about = [
            {
                "shard": index, "made": row, "seed": index * config.batch + row, "player": config.player, "task": config.task,
                "prompts": [phrases[row] for phrases in said], "successes": done[row].tolist(),
                "flags": flags(frames[row], looks[row], rewards[row, :, column], bool(done[row].any())),
            }
            for row in range(rows)
        ]  # fmt: skip
        return Made(shard=shard, rows=about)

    def _say(
        self, act: Any, newest: torch.Tensor, index: int, step: int, rng: np.random.Generator, rows: int
    ) -> tuple[np.ndarray, list[str]]:
        """Return what every row does, and how it says so: half of the time in the environment's words, else in others."""
        if self.prompts is not None:
            episodes = [self.prompts[(index * self.config.batch + row) % len(self.prompts)] for row in range(rows)]
            phrases = [said[step % len(said)] for said in episodes]
            return np.array([self._action(phrase) for phrase in phrases]), phrases
        chosen = act(newest)
        plain, which = rng.random(rows) < 0.5, rng.random(rows)
        ways = [self.ways[action] for action in chosen]
        return chosen, [way[0] if plain[row] else way[int(which[row] * len(way))] for row, way in enumerate(ways)]

    def _action(self, phrase: str) -> int:
        return next((action for action, menu in enumerate(self.world.spec.menu) if phrase in menu), NO_ACTION)

    def _clips(self, index: int, rows: int) -> torch.Tensor:
        """Return the latents of the clips that a shard is drawn over; they begin anew where there are too few."""
        assert self.clips is not None
        per_shard, steps = self.clips.meta["episodes"], self.config.steps
        if steps > self.clips.meta["steps"]:
            raise StreamDiTError(
                "the clips are too short", given=f"{steps} steps", allowed=f"{self.clips.meta['steps']} or fewer", remedy="lower --steps"
            )
        total = per_shard * len(self.clips)
        wanted = [(index * self.config.batch + row) % total for row in range(rows)]
        shards = {place // per_shard: None for place in wanted}
        frames = {position: self.clips.shard(position).frames for position in shards}
        clips = np.stack([frames[place // per_shard][place % per_shard, : steps + 1] for place in wanted])
        return torch.cat([self.world.codec.encode(torch.from_numpy(clip)[None].to(self.world.device)) for clip in clips]).float()

    def _starts(self, rng: np.random.Generator, rows: int) -> torch.Tensor:
        if self.config.images is None:
            bank = self.world.starts.latents
            return bank[torch.from_numpy(rng.integers(len(bank), size=rows))]
        images = start_images(Path(self.config.images), self.world.spec.size)
        chosen = torch.from_numpy(images[rng.integers(len(images), size=rows)])
        return self.world.codec.encode(chosen[:, None].to(self.world.device))[:, 0].float()

    def _decoded(self, latents: torch.Tensor) -> UInt8[np.ndarray, "e f h w 3"]:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.engine.autocast):
            return self.world.codec.decode(latents).cpu().numpy()


def check_size(clips: Dataset, size: int) -> None:
    """Refuse clips of another size than the world's.

    Raises:
        DatasetError: if they are.
    """
    if clips.meta["size"] != size:
        raise DatasetError("clips of another size", given=clips.meta["size"], allowed=size, remedy="clips of the same world")


def start_images(folder: Path, size: int) -> UInt8[np.ndarray, "n h w 3"]:
    """Read every picture of a folder, cut to its middle square and brought to the world's size.

    Raises:
        StreamDiTError: if there is none, or one cannot be read.
    """
    import cv2

    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in kinds) if folder.is_dir() else []
    if not paths:
        raise StreamDiTError(
            "no pictures to start from", given=folder, allowed="a folder of PNG or JPEG files", remedy="leave --images out"
        )
    pictures = []
    for path in paths:
        read = cv2.imread(str(path))
        if read is None:
            raise StreamDiTError("a picture cannot be read", given=path, remedy="delete or replace it")
        side = min(read.shape[:2])
        top, left = (read.shape[0] - side) // 2, (read.shape[1] - side) // 2
        square = read[top : top + side, left : left + side, ::-1]
        pictures.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC))
    return np.stack(pictures)
