"""Makes shards of episodes with one batched world; the same worker serves one machine and many.

Takes: a shard's number.  Gives: its episodes.  Knows nothing of: files, other workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from streamdit_gym.checks import check_choice, check_int, check_real, check_str
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.rewards import task_rewards
from streamdit_gym.data.shard import Shard
from streamdit_gym.definition import WorldSpec
from streamdit_gym.envs.worlds import move_prompt_of
from streamdit_gym.errors import ArgumentError, DatasetError, PartitionError, StreamDiTError
from streamdit_gym.generate.quality import flags
from streamdit_gym.generate.speakers import act_of, player_of, read_prompts
from streamdit_gym.presets import partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.meaning import Meanings
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.world import World

LOOK_EVERY = 8  # frames between second looks
DECODED = 512  # frames decoded at once
MAX_SHARDS = 100_000  # their numbers have five digits
MAX_BATCH = 65_536
MAX_STEPS = 1_000_000
MAX_SEED = 2**63 - 1
MAX_SHARD_BYTES = 2**35  # pixels of a shard, which lie in memory while it is made


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """What to generate.

    Attributes:
        world: shipped name, folder or Hub id.
        episodes: how many in all.
        steps: frames per episode, beside the first.
        batch: episodes per shard; they are made as one batch, so the data depend on it.
        seed: a shard's content depends on the seed and the shard's number alone.
        player: see `player_of`; or a file of prompts (``.jsonl``).
        task: whose reward is kept as *the* reward, and what a script plays.
        partition: how to stream.
        images: folder of start frames; None: the world's own bank.
        over: data set of clips to draw over (video to video); episode i is drawn over its clip i,
            from the clip's first frame.
        strength: how much of those clips is replaced by noise, above 0 to 1.
        device: where the world runs.
        dtype: ``"float32"`` or ``"bfloat16"``.
        trust_agents: also let an agent play that is only there as ``agent.zip``, which is code; it
            changes no data.
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
    trust_agents: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be made.

        Raises:
            ArgumentError: if a value is of the wrong type or out of range.
            UnknownNameError: if the precision is none.
        """
        check_int("batch", self.batch, least=1, most=MAX_BATCH)
        check_int("episodes", self.episodes, least=1, most=MAX_SHARDS * self.batch)
        check_int("steps", self.steps, least=1, most=MAX_STEPS)
        check_int("seed", self.seed, least=0, most=MAX_SEED)
        check_real("strength", self.strength, above=0.0, most=1.0)
        check_choice("dtype", self.dtype, ("float32", "bfloat16"))
        for name in ("world", "player", "task", "partition", "device"):
            check_str(name, getattr(self, name))
        for name in ("images", "over"):
            if getattr(self, name) is not None:
                check_str(name, getattr(self, name))

    @property
    def shards(self) -> int:
        """How many shards there are in all."""
        return -(-self.episodes // self.batch)

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
        self._check_memory()
        self.cut = partition(config.partition)
        if self.cut.chunk_frames != 1:
            raise PartitionError(
                "an action is for one frame",
                given=str(self.cut),
                allowed="c = 1",
                remedy="choose a partition with c1",
            )
        self.prompts = (
            read_prompts(Path(config.player)) if config.player.endswith(".jsonl") else None
        )
        self.player = (
            None if self.prompts else player_of(config.player, trust_agents=config.trust_agents)
        )
        carried = set(self.world.table.phrases)
        self.ways = [
            [phrase for phrase in menu if phrase in carried] for menu in self.world.spec.menu
        ]
        if unknown := [
            phrase for said in self.prompts or () for phrase in said if phrase not in carried
        ]:
            self.world.table.rows(
                unknown[:1]
            )  # loads the prompt encoder, or says that it is missing
        self.engine = self._engine(self.world.table)
        self.meanings = Meanings(
            self.world.model, self.world.starts.latents, self.world.spec.menu, partition("reactive")
        )
        self.move_prompt = move_prompt_of(self.world.spec.name)
        self._actions: dict[str, tuple[int, bool]] = {}
        self.clips = (
            None
            if config.over is None
            else Clips(Dataset(config.over), config.steps, self.world.spec.size)
        )
        self.images = (
            None
            if config.images is None
            else start_images(Path(config.images), self.world.spec.size)
        )

    def _check_memory(self) -> None:
        config = self.config
        frame_bytes = 3 * self.world.spec.size**2
        most = max(1, MAX_SHARD_BYTES // frame_bytes)
        if config.batch * (config.steps + 1) > most:
            raise ArgumentError(
                "a shard of so many frames does not fit in memory",
                given=f"{config.batch} episodes of {config.steps} steps",
                allowed=f"{most} frames in all",
                remedy="lower --batch or --steps",
            )

    def _engine(self, table: PromptTable) -> Engine:
        idle = int(table.rows([self.world.spec.menu[0][0]])[0])
        return Engine(
            self.world.model_for(self.cut),
            table,
            self.cut,
            idle=idle,
            autocast=self.config.dtype == "bfloat16",
        )

    def _engine_for(self, index: int) -> Engine:
        """Return a shard's engine: prompts of a file have a table for each shard,
        so that nothing depends on what was made before.
        """
        known = self.world.table.phrases
        said = (
            {
                phrase
                for row in range(self.config.rows(index))
                for phrase in self._episode(index, row)
            }
            if self.prompts
            else set()
        )
        if said <= set(known):
            return self.engine
        table = self.world.table.only(known, most=len(known) + len(said))
        table.rows(sorted(said))
        return self._engine(table)

    def _episode(self, index: int, row: int) -> list[str]:
        assert self.prompts is not None
        return self.prompts[(index * self.config.batch + row) % len(self.prompts)]

    @torch.no_grad()
    def make(self, index: int) -> Made:
        """Return the episodes of a shard."""
        config, spec, engine = self.config, self.world.spec, self._engine_for(index)
        rows, latency, idle = config.rows(index), self.cut.chunks - 1, spec.menu[0][0]
        rng = np.random.default_rng([config.seed, index])
        over = (
            None if self.clips is None else self._clips(index, rows)
        )  # the session refuses them where N > 1
        latents = self._starts(rng, rows) if over is None else over[:, 0]
        noise = Noise.seeded(rng.integers(2**63, size=rows).tolist())
        session = engine.start(latents[:, None], torch.full((rows, 1), engine.idle), noise)
        act = None if self.prompts else act_of(self.player, self.world, config.task, rng, rows)
        clean, actions, said, doubts = [latents[:, None]], [], [], []
        fault = torch.zeros(rows, dtype=torch.bool, device=latents.device)
        for step in range(config.steps + latency):
            phrases = [idle] * rows
            if step < config.steps:
                chosen, phrases = self._say(act, clean[-1], index, step, rng, rows)
                actions.append(chosen)
                said.append(phrases)
            drawn = None if over is None else over[:, step + 1 : step + 2]
            made = engine.tick(session, engine.table.rows(phrases), drawn, config.strength)
            fault |= ~made.flatten(1).isfinite().all(1)
            made = made.nan_to_num(
                0, 0, 0
            )  # players and heads see numbers; such an episode is not kept
            if step < latency:  # born before anything was said
                continue
            clean.append(made)
            if (len(clean) - 1) % LOOK_EVERY == 0 or len(clean) == config.steps + 1:
                doubts.append(engine.self_consistency_error(session).cpu().numpy())
        seen = torch.cat(clean, 1)
        states, scores = (part.float().cpu().numpy() for part in self.world.readout(seen))
        rewards = until_success(spec, task_rewards(spec, scores[:, :-1], scores[:, 1:]), scores)
        frames = np.concatenate(
            [self._decoded(part) for part in seen.split(max(1, DECODED // seen.shape[1]))]
        )
        done = (
            scores[:, 1:, spec.score_names.index(spec.tasks[config.task].success)]
            > spec.tasks[config.task].threshold
        )
        shard = Shard(
            frames=frames,
            actions=np.stack(actions, 1).astype(np.int16),
            states=states,
            scores=scores,
            rewards=rewards,
            prompts=np.array(
                [[self.number[phrase] for phrase in phrases] for phrases in said], dtype=np.int32
            ).T,
        )
        column, looks = (
            sorted(spec.tasks).index(config.task),
            np.nan_to_num(np.stack(doubts, 1), posinf=0.0, neginf=0.0),
        )
        about = []
        for row in range(rows):
            prompts = [phrases[row] for phrases in said]
            menu = self._menu_share(prompts)
            about.append(
                {
                    "shard": index,
                    "made": row,
                    "seed": index * config.batch + row,
                    "player": config.player,
                    "task": config.task,
                    "prompts": prompts,
                    "actions_resolved": menu < 1,
                    "world_fault": bool(fault[row]),
                    "successes": done[row].tolist(),
                    "flags": flags(
                        frames[row],
                        looks[row],
                        rewards[row, :, column],
                        bool(done[row].any()),
                        menu,
                    ),
                }
            )
        return Made(shard=shard, rows=about)

    def _say(
        self,
        act: Any,
        newest: torch.Tensor,
        index: int,
        step: int,
        rng: np.random.Generator,
        rows: int,
    ) -> tuple[np.ndarray, list[str]]:
        """Return what every row does, and how it says so:
        half of the time in the environment's words, else in others.
        """
        if self.prompts is not None:
            episodes = [self._episode(index, row) for row in range(rows)]
            phrases = [said[step % len(said)] for said in episodes]
            return np.array([self._action(phrase)[0] for phrase in phrases]), phrases
        chosen = act(newest)
        plain, which = rng.random(rows) < 0.5, rng.random(rows)
        ways = [self.ways[action] for action in chosen]
        return chosen, [
            way[0] if plain[row] else way[int(which[row] * len(way))]
            for row, way in enumerate(ways)
        ]

    def _action(self, prompt: str) -> tuple[int, bool]:
        """Return the menu action that a prompt means, and whether the menu says so;
        else the world's frames tell it.
        """
        if prompt not in self._actions:
            move = self.move_prompt(prompt)
            entry = self.meanings.entry(move)
            if entry is None:
                plain = [phrases[0] for phrases in self.world.spec.menu]
                table = self.world.table.only(
                    plain, most=len(plain) + 1
                )  # each text is embedded alone: batches differ in bits
                self._actions[prompt] = self.meanings.action_of(move, table), False
            else:
                self._actions[prompt] = entry, True
        return self._actions[prompt]

    def _menu_share(self, prompts: list[str]) -> float:
        """Return the share of prompts whose move is a menu entry."""
        if self.prompts is None:
            return 1.0
        return sum(self._action(prompt)[1] for prompt in prompts) / len(prompts)

    def _clips(self, index: int, rows: int) -> torch.Tensor:
        """Return the latents of the clips that a shard is drawn over;
        they begin anew where there are too few.
        """
        assert self.clips is not None
        clips = [self.clips.clip(index * self.config.batch + row) for row in range(rows)]
        return torch.cat(
            [
                self.world.codec.encode(torch.from_numpy(clip)[None].to(self.world.device))
                for clip in clips
            ]
        ).float()

    def _starts(self, rng: np.random.Generator, rows: int) -> torch.Tensor:
        if self.images is None:
            bank = self.world.starts.latents
            return bank[torch.from_numpy(rng.integers(len(bank), size=rows))]
        chosen = torch.from_numpy(self.images[rng.integers(len(self.images), size=rows)])
        return self.world.codec.encode(chosen[:, None].to(self.world.device))[:, 0].float()

    def _decoded(self, latents: torch.Tensor) -> UInt8[np.ndarray, "e f h w 3"]:
        with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.engine.autocast):
            return self.world.codec.decode(latents).cpu().numpy()


class Clips:
    """The episodes of a data set, one after the other, and then again from the first.

    Args:
        dataset: whose.
        steps: frames that are needed of each, beside the first.
        size: of the world's frames.

    Raises:
        DatasetError: if its frames have another size.
        StreamDiTError: if its episodes are too short.
    """

    def __init__(self, dataset: Dataset, steps: int, size: int) -> None:
        self.dataset, self.steps = dataset, steps
        if dataset.meta["size"] != size:
            raise DatasetError(
                "clips of another size",
                given=dataset.meta["size"],
                allowed=size,
                remedy="clips of the same world",
            )
        self.places = [
            (position, row)
            for position in range(len(dataset))
            for row in range(dataset.episodes(position))
        ]
        self._read: tuple[int, UInt8[np.ndarray, "e f h w 3"]] = (0, dataset.shard(0).frames)
        longest = self._read[1].shape[1] - 1
        if steps > longest:
            raise StreamDiTError(
                "the clips are too short",
                given=f"{steps} steps",
                allowed=f"{longest} or fewer",
                remedy="lower --steps",
            )

    def clip(self, number: int) -> UInt8[np.ndarray, "f h w 3"]:
        """Return a clip."""
        position, row = self.places[number % len(self.places)]
        if position != self._read[0]:
            self._read = position, self.dataset.shard(position).frames
        return self._read[1][row, : self.steps + 1]


def until_success(
    spec: WorldSpec, rewards: Float[np.ndarray, "e s k"], scores: Float[np.ndarray, "e g m"]
) -> Float[np.ndarray, "e s k"]:
    """Return every task's rewards up to its first success, and zeros after it:
    there an environment's episode would have ended.
    """
    paid = rewards.copy()
    for column, name in enumerate(sorted(spec.tasks)):
        task = spec.tasks[name]
        done = scores[:, 1:, spec.score_names.index(task.success)] > task.threshold
        paid[:, 1:, column][np.logical_or.accumulate(done, 1)[:, :-1]] = 0
    return paid


def start_images(folder: Path, size: int) -> UInt8[np.ndarray, "n h w 3"]:
    """Read every picture of a folder, cut to its middle square and brought to the world's size;
    what is clear is white.

    Raises:
        StreamDiTError: if there is none, or one cannot be read.
    """
    import cv2

    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
    paths = (
        sorted(path for path in folder.glob("*") if path.suffix.lower() in kinds)
        if folder.is_dir()
        else []
    )
    if not paths:
        raise StreamDiTError(
            "no pictures to start from",
            given=folder,
            allowed="a folder of PNG or JPEG files",
            remedy="leave --images out",
        )
    pictures = []
    for path in paths:
        read = _on_white(path)
        if read is None:
            raise StreamDiTError(
                "a picture cannot be read", given=path, remedy="delete or replace it"
            )
        side = min(read.shape[:2])
        top, left = (read.shape[0] - side) // 2, (read.shape[1] - side) // 2
        square = read[top : top + side, left : left + side, ::-1]
        pictures.append(
            cv2.resize(
                square,
                (size, size),
                interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC,
            )
        )
    return np.stack(pictures)


def _on_white(path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
    """Read a picture in OpenCV's order of colours, laid on white where it has alpha;
    None if it cannot be read.
    """
    import cv2

    opaque = cv2.imread(str(path))
    whole = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4:
        return opaque
    colours = whole / (65535 if whole.dtype == np.uint16 else 255)
    alpha = colours[..., 3:]
    return np.rint(255 * (colours[..., :3] * alpha + 1 - alpha)).astype(np.uint8)
