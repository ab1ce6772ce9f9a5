"""Are actions obeyed? Checked while the transformer learns, before hours are lost.

A small network learns to read actions off real latents. Then the transformer is given random
actions, which owe nothing to what went before, and the network reads them back from the frames
that it generates. A world that ignores its actions can be as sharp as any other; here it shows.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import silu

from streamdit_gym.actions import ActionLanguage, Menu, action_numbers
from streamdit_gym.data.random_actions import draw_box_values
from streamdit_gym.errors import StreamDiTError
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_protocol import PromptRow, PromptSource
from streamdit_gym.train import parallel
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.loop import TrainingLoop

log = logging.getLogger("streamdit_gym")

CHECK_EVERY = 0.1  # part of the training
MIN_SHARE = 0.15  # of the real frames' correlation; noise alone gives 0.06
MIN_CORRELATION = 0.3  # on real frames, for a number to be called readable
NUM_STREAMS = 384
CONTEXT_FRAMES = 5
WINDOW = 3  # frames that the network reads: how the motion has changed, too
PROBE_STEPS = 1500  # torques show in the second difference of places: 400 steps do not find it
PROBE_BATCH = 128
PROBE_RATE = 2e-3
PROBE_WIDTH = 32
PROBE_NOISE = 0.05  # on latents, so that generated ones are read as well
SEED = 4


@dataclass(frozen=True, kw_only=True)
class Readback:
    """How well actions are read, as correlations: one for each of an action's numbers.

    Attributes:
        real: from held-out real frames.
        generated: from generated frames, of random actions.
    """

    real: Float[Tensor, " a"]
    generated: Float[Tensor, " a"]

    @property
    def is_readable(self) -> bool:
        """Whether any number can be read from real frames."""
        return bool((self.real > MIN_CORRELATION).any())

    @property
    def share(self) -> float:
        """Correlation on generated frames over that on real ones, of the readable numbers."""
        readable = self.real > MIN_CORRELATION
        return (self.generated[readable] / self.real[readable]).mean().item()


class ActionProbe(nn.Module):
    """Reads the action that led to the last of three latent frames.

    Args:
        channels: of the latents.
        cells: places of a latent frame.
        num_numbers: numbers of an action.
    """

    def __init__(self, channels: int, cells: int, num_numbers: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(WINDOW * channels, PROBE_WIDTH, 3, padding=1)
        self.second = nn.Conv2d(PROBE_WIDTH, PROBE_WIDTH, 3, padding=1)
        self.hidden = nn.Linear(PROBE_WIDTH * cells, 4 * PROBE_WIDTH)
        self.out = nn.Linear(4 * PROBE_WIDTH, num_numbers)

    def forward(self, frames: Float[Tensor, "n 3 c h w"]) -> Float[Tensor, "n a"]:
        """Return actions as numbers."""
        before, now, after = frames.unbind(1)
        x = torch.cat([now, after - now, now - before], 1)
        x = silu(self.first(x))
        x = x + silu(self.second(x))
        return self.out(silu(self.hidden(x.flatten(1))))


class ReadbackCheck:
    """Check now and then during a training that actions are obeyed.

    Args:
        episodes: training episodes, which the probe learns from.
        held_out: episodes to generate from.
        prompts: embeddings of prompts.
        language: of the actions.
        deadline: part of the training after which actions must be read back.
    """

    def __init__(
        self,
        episodes: LatentEpisodes,
        held_out: LatentEpisodes,
        prompts: PromptSource,
        language: ActionLanguage,
        deadline: float,
    ) -> None:
        self.episodes = episodes
        self.held_out = held_out
        self.prompts = prompts
        self.language = language
        self.deadline = deadline
        self.next_progress = CHECK_EVERY
        self.probe: ActionProbe | None = None
        self.real = torch.zeros(0)

    def __call__(self, loop: TrainingLoop, model: StreamDiT) -> None:
        """Check if it is time; other random numbers of the training stay as they are.

        Raises:
            StreamDiTError: if actions are still not read back after the deadline.
        """
        progress = loop.stage.progress
        if progress < self.next_progress:
            return
        self.next_progress = progress + CHECK_EVERY
        with torch.random.fork_rng():
            readback = self.measure(model)
        if not readback.is_readable:
            log.warning(_unreadable(readback))
            self.next_progress = 2.0  # there is nothing to check
            return
        loop.stage.log(readback=readback.share)
        log.info("%.0f%% of the training: %s", 100 * progress, _report(readback))
        failed = progress >= self.deadline and readback.share < MIN_SHARE
        if parallel.highest(int(failed)):
            loop.stage.save()
            raise _ignored(readback, progress)

    def measure(self, model: StreamDiT) -> Readback:
        """Return how well actions are read back from a model's frames."""
        was_training = model.training
        model.eval()
        if self.probe is None:
            self.probe = train_action_probe(self.episodes)
            self.real = _real_correlations(self.probe, self.held_out)
        generated = self._generated_correlations(self.probe, model)
        model.train(was_training)
        return Readback(real=self.real, generated=generated)

    @torch.no_grad()
    def _generated_correlations(self, probe: ActionProbe, model: StreamDiT) -> Float[Tensor, " a"]:
        generator = torch.Generator().manual_seed(SEED)
        held_out = self.held_out
        num_frames = min(CONTEXT_FRAMES, int(held_out.lengths.max()))
        index = held_out.sample(NUM_STREAMS, num_frames, generator)
        latents, prompts = held_out.clips(index, num_frames)
        device = next(model.parameters()).device
        actions = _random_actions(self.language)
        source = self.prompts.to(str(device), torch.float32)
        references = min(CONTEXT_FRAMES - 1, model.config.references)
        partition = Partition(references=references, micro_steps=model.config.micro_steps)
        engine = Engine(model, source, partition)
        real = latents.to(device, torch.float32)
        session = engine.start(real, prompts.to(device), Noise.seeded(range(NUM_STREAMS)))
        frames = engine.tick(session, _prompts_of(self.language, source, actions).to(device))
        newest = real[:, -(WINDOW - 1) :]
        read = probe(torch.cat([newest, frames.float()], 1).cpu())
        return correlations(read, torch.from_numpy(action_numbers(self.language, actions)))


def train_action_probe(episodes: LatentEpisodes) -> ActionProbe:
    """Return a probe that has learned to read actions off real latents, on the CPU."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    channels, rows, columns = episodes.latents.shape[2:]
    probe = ActionProbe(channels, rows * columns, episodes.actions.shape[-1])
    optimizer = torch.optim.AdamW(probe.parameters(), lr=PROBE_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PROBE_STEPS)
    for _ in range(PROBE_STEPS):
        frames, actions = _windows(episodes, PROBE_BATCH, generator)
        noise = PROBE_NOISE * torch.randn_like(frames)
        loss = functional.mse_loss(probe(frames + noise), actions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probe.eval()


def correlations(read: Float[Tensor, "n a"], true: Float[Tensor, "n a"]) -> Float[Tensor, " a"]:
    """Return the correlation of each number; 0 where it does not vary."""
    pairs = zip(read.double().unbind(1), true.double().unbind(1), strict=True)
    values = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]
    return torch.stack(values).nan_to_num(0.0).float()


@torch.no_grad()
def _real_correlations(probe: ActionProbe, held_out: LatentEpisodes) -> Float[Tensor, " a"]:
    generator = torch.Generator().manual_seed(SEED)
    frames, actions = _windows(held_out, NUM_STREAMS, generator)
    return correlations(probe(frames), actions)


def _windows(
    episodes: LatentEpisodes, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return real frames, three in a row, and the action that led to the last."""
    index = episodes.sample(count, WINDOW, generator)
    latents, _ = episodes.clips(index, WINDOW)
    actions = episodes.actions[index.episode, index.start + WINDOW - 1]
    return latents.to("cpu", torch.float32), actions.cpu()


def _random_actions(language: ActionLanguage) -> np.ndarray:
    rng = np.random.default_rng(SEED)
    if isinstance(language, Menu):
        return rng.integers(len(language), size=NUM_STREAMS)
    return np.stack([draw_box_values(rng, language) for _ in range(NUM_STREAMS)])


def _prompts_of(language: ActionLanguage, source: PromptSource, actions: np.ndarray) -> PromptRow:
    if isinstance(language, Menu):
        return source.of_texts([language.prompt(action) for action in actions])
    return torch.from_numpy(language.positions(actions))


def _report(readback: Readback) -> str:
    real = readback.real.mean().item()
    return (
        f"actions are read back from generated frames {readback.share:.0%} as well as from real "
        f"ones (mean correlation there {real:.2f})"
    )


def _unreadable(readback: Readback) -> str:
    best = readback.real.max().item()
    return (
        f"actions cannot be read from real frames (largest correlation {best:.2f}), so nobody can "
        "say whether the world obeys them. Does a frame span too little time (frame_skip; see "
        "motion in meta.json of the data), or do actions act later than in the next frame?"
    )


def _ignored(readback: Readback, progress: float) -> StreamDiTError:
    return StreamDiTError(
        "the world ignores its actions so far",
        given=f"after {progress:.0%} of the training {_report(readback)}",
        allowed=f"{MIN_SHARE:.0%} or more",
        remedy=(
            "give it more minutes, from the beginning; or record frames that span more time (see"
            " motion in meta.json of the data), or calmer ones (explore of gym_world); to go on all"
            " the same, set dynamics.readback_deadline=0 in a recipe and --resume"
        ),
    )
