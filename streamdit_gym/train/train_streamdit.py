"""Training the transformer on latents, with mixed partitions.

Takes: latent episodes and the phrase table.  Gives: a trained StreamDiT.  Knows nothing of: pixels,
    simulators.

Most steps learn partition N = 1 with references for every frame of a clip at once (`teacher_view`);
the rest learn moving buffers and whole clips. Late in training the references are the model's own
predictions, several frames deep, so that it learns to go on from its own errors. See
docs/decisions/0003. Looks take no part in it (`train_looks`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from streamdit_gym.checks import check_fields, check_real
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.preconditioning import clean_of_velocity
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.flow import euler_step, point, velocity
from streamdit_gym.stream.noise_levels import training_times
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.views import stream_view, teacher_view
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train import parallel
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.latents import LatentEpisodes
from streamdit_gym.train.muon import Muon
from streamdit_gym.train.prompts import disturbed, spread_of
from streamdit_gym.train.run import (
    LEAST,
    MAX_BATCH,
    MAX_CLIP_FRAMES,
    MAX_MICRO_STEPS,
    MAX_STEPS,
    MAX_WEIGHT,
    Average,
    Budget,
    Stage,
    choose_threads_for_stage,
)
from streamdit_gym.types import BufferView, Conditioning

MOVING = 0.01  # mean squared change of a latent from which it counts as moving
READERS = (
    "text",
    "pooled",
    "no_prompt",
)  # what a prompt goes through, beside the blocks' keys and values of it
Picture = Callable[[StreamDiT], np.ndarray]


def eager() -> AbstractContextManager[object]:
    """Run compiled blocks as they are written: only the layout of most steps is worth its
    compilation.
    """
    return torch.compiler.set_stance("force_eager")


@dataclass(frozen=True, kw_only=True)
class StreamDiTTraining:
    """How the transformer is trained.

    Attributes:
        steps: optimizer steps.
        clips: clips per step.
        clip_frames: next-frame problems per clip.
        partitions: partitions mixed in besides N = 1, with their share of the steps.
        micro_steps: s of the sampler that the model is trained for.
        start_share: share of steps (of a moving buffer's rows) at the exact noise levels of that
            sampler; the others are anywhere.
        moving: extra weight of latents that must change from what the frame before shows, be it
            motion or repair, beside 1 for all.
        reference_noise: largest noise on the references (1 - t); half of the clips have none.
        own_references: chance that a clip goes on from its predictions of the step before.
        own_ramp: part of the training in which that chance rises from zero.
        own_depth: most predictions deep.
        own_lost: mean squared error of a prediction from which the truth tells another story:
            nothing is learned from the truth behind it.
        damaged: chance in each step that a clip's references are damaged, for the model to mend.
        prompt_dropout: share of frames without prompt.
        prompt_noise: noise on the embeddings, in their standard deviations.
        prompt_hidden: largest share of tokens that is hidden, in half of the prompts; the pooled
            embedding never is.
        matrix_rate: learning rate of Muon, for the blocks' matrices.
        other_rate: learning rate of AdamW, for everything else.
        rate: factor on both.
        cooldown: last part of the training, in which the learning rates go to zero linearly.
        decay: of the averaged weights.
        velocity_floor: smallest 1 - t to divide by in the loss.
        kernel: root mean squared error of a latent (over its channels) beyond which the loss hardly
            grows any more.
        square: weight of the squared error in the loss, in the end.
        plain: first part of the training, in which one more squared error fades out: what is far
            off is found by it alone.
        words_only: learn new words alone: what reads prompts; what draws what they say stays as it
            is.
        compile: whether to compile the model.
        by_minutes: whether the learning rate ends with the minutes of the call, if they are over
            before the steps.
    """

    steps: int = 12_000
    clips: int = 20
    clip_frames: int = 8
    partitions: tuple[tuple[str, float], ...] = (
        ("K4N2c1s1", 0.03),
        ("K4N4c1s1", 0.07),
        ("K0N1c8s1", 0.02),
    )
    micro_steps: int = 1
    start_share: float = 0.9
    moving: float = 8.0
    reference_noise: float = 0.1
    own_references: float = 0.93
    own_ramp: float = 0.1
    own_depth: int = 64
    own_lost: float = 0.1
    damaged: float = 0.16
    prompt_dropout: float = 0.05
    prompt_noise: float = 0.5
    prompt_hidden: float = 1.0
    matrix_rate: float = 4e-3
    other_rate: float = 1.2e-3
    rate: float = 1.0
    cooldown: float = 0.6
    decay: float = 0.999
    velocity_floor: float = 0.3
    kernel: float = 0.3
    square: float = 0.02
    plain: float = 0.5
    words_only: bool = False
    compile: bool = False
    by_minutes: bool = False

    def __post_init__(self) -> None:
        shares, rates = (0, 1), (0, 10)
        check_fields(
            self,
            ints={
                "steps": (0, MAX_STEPS),
                "clips": (1, MAX_BATCH),
                "clip_frames": (1, MAX_CLIP_FRAMES),
                "micro_steps": (1, MAX_MICRO_STEPS),
                "own_depth": (0, MAX_STEPS),
            },
            reals={
                "start_share": shares,
                "moving": (0, MAX_WEIGHT),
                "reference_noise": shares,
                "own_references": shares,
                "own_ramp": (LEAST, MAX_WEIGHT),
                "own_lost": (0, MAX_WEIGHT),
                "damaged": shares,
                "prompt_dropout": shares,
                "prompt_noise": (0, MAX_WEIGHT),
                "prompt_hidden": shares,
                "matrix_rate": rates,
                "other_rate": rates,
                "rate": (0, 100),
                "cooldown": (LEAST, 1),
                "decay": shares,
                "velocity_floor": (LEAST, 1),
                "kernel": (LEAST, MAX_WEIGHT),
                "square": (0, MAX_WEIGHT),
                "plain": (LEAST, 1),
            },
            bools=("words_only", "compile", "by_minutes"),
        )
        for text, share in self.partitions:
            Partition.parse(text)
            check_real(f"share of partition {text}", share, least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Clips under way, and the model's own frames in them.

    Attributes:
        episode: episode of each clip.
        start: place of each clip's first frame in it.
        depth: how many predictions deep the references are.
        trusted: whether the recorded frame after a reference is what must follow it: the
            simulator's, and not yet another story.
        given: the clips' first frames, real or the model's own, maybe damaged.
        references: the same with noise.
        reference_times: their times.
        micro_step: the sampler's next micro step.
        frames: the sampler's state: what the frames after the references have become so far.
    """

    episode: Int[Tensor, " b"]
    start: Int[Tensor, " b"]
    depth: Int[Tensor, " b"]
    trusted: Bool[Tensor, "b f"]
    given: Float[Tensor, "b f c h w"]
    references: Float[Tensor, "b f c h w"]
    reference_times: Float[Tensor, "b f"]
    micro_step: int
    frames: Float[Tensor, "b f c h w"]


class StreamDiTTrainer:
    """The loss and one optimizer step; see the module's text.

    Args:
        model: the transformer.
        episodes: training episodes.
        table: embeddings of every phrase of the data set, in its order.
        config: the recipe.
        device: where to train.
        damage: how references are damaged; None: they never are.
    """

    def __init__(
        self,
        model: StreamDiT,
        episodes: LatentEpisodes,
        table: PromptTable,
        config: StreamDiTTraining,
        device: str,
        damage: ContextCorruption | None = None,
    ) -> None:
        self.damage = damage
        self.model, self.episodes, self.config, self.device = model, episodes, config, device
        self.table = table.to(device, torch.float32)
        self.noise_scale = spread_of(self.table)
        for name, weight in model.named_parameters():
            part = name.split(".")[0]
            reads = part in READERS or ".cross.key_value." in name
            weight.requires_grad_(part != "appearance" and (reads or not config.words_only))
        if config.compile:
            for block in model.blocks:
                block.compile()
        self.generator = torch.Generator().manual_seed(0)
        self.optimizers = optimizers(model, config)
        self.limit = model.config.references
        self.local = model.config.spatial_channels
        self.own: Rollouts | None = None
        self.square = config.square

    def step(self, progress: float) -> float:
        """Take one optimizer step.

        Args:
            progress: done part of the training, 0 to 1.

        Returns:
            The loss.
        """
        prepare_step(self.optimizers, progress, self.config.cooldown)
        self.square = self.config.square + max(0.0, 1 - progress / self.config.plain)
        draw = torch.rand((), generator=self.generator).item()
        for text, share in self.config.partitions:
            if draw < share:
                loss = self.buffer_loss(Partition.parse(text))
                break
            draw -= share
        else:
            loss = self.next_frame_loss(progress)
        return learn(self.model, self.optimizers, loss)

    def next_frame_loss(self, progress: float = 1.0) -> Tensor:
        """Loss of N = 1: every next frame of some clips, given clean, noisy or own references.

        Micro step by micro step, the model learns from the truth at that noise level while its own
        sampler goes along. When that is done its frames are the references of the next window, a
        frame later: so after d windows every frame of a clip is the end of a rollout of d frames.

        In some steps the noise levels are anywhere instead. What is shown then tells of the truth,
        so no rollout goes through them.
        """
        f, s, config = self.config.clip_frames, self.config.micro_steps, self.config
        elsewhere = torch.rand((), generator=self.generator).item() >= config.start_share
        if elsewhere:
            own = self._next_window(progress, None)
        else:
            own = (
                self._next_window(progress, self.own)
                if self.own is None or self.own.micro_step == s
                else self.own
            )
        clips, index = self._cut(own.episode, own.start, f + 1)
        target, noise = clips[:, 1:], torch.randn_like(clips[:, 1:])
        prompts = self._prompts(torch.cat([index[:, :-1], index[:, 1:]], 1))
        level = torch.full((len(clips), f), own.micro_step / s, device=self.device)
        times = torch.rand_like(level) if elsewhere else level
        at = point(target, noise, times)
        view = teacher_view(own.references, own.reference_times, at, times, limit=self.limit)
        loss, found = self._loss(view, prompts, target, noise, own.given, own.trusted)
        if elsewhere:
            return loss
        with torch.no_grad():
            if own.micro_step == 0:  # at pure noise, the truth has told nothing yet
                guess = clean_of_velocity(found.detach(), at, level, config.velocity_floor)
                frames = point(guess, noise, level + 1 / s)
            else:
                view = teacher_view(
                    own.references, own.reference_times, own.frames, level, limit=self.limit
                )
                frames = euler_step(
                    own.frames, self._velocity(view, prompts, 0.0), 1 / s
                )  # as the engine goes
        self.own = replace(own, micro_step=own.micro_step + 1, frames=frames)
        return loss

    def _next_window(self, progress: float, own: Rollouts | None) -> Rollouts:
        """Return where to look next: a frame further in clips that go on from their own frames,
        anywhere in the others.
        """
        f, config = self.config.clip_frames, self.config
        episode, start = self.episodes.draw(config.clips, f + 1, self.generator)
        depth = torch.zeros_like(start)
        trusted = torch.ones(len(start), f, dtype=torch.bool, device=self.device)
        if own is None:
            given = self._cut(episode, start, f)[0]
        else:
            truth = self._cut(own.episode, own.start, f + 1)[0][:, 1:]
            close = (own.frames - truth)[:, :, : self.local].square().mean(
                (2, 3, 4)
            ) < config.own_lost
            chance = config.own_references * min(1.0, progress / config.own_ramp)
            goes_on = (torch.rand(len(start), generator=self.generator) < chance) & (
                own.depth + 1 < config.own_depth
            )
            goes_on &= (own.start + f + 1 < self.episodes.latents.shape[1]) & close[:, -1].cpu()
            episode, start = (
                torch.where(goes_on, own.episode, episode),
                torch.where(goes_on, own.start + 1, start),
            )
            depth = torch.where(goes_on, own.depth + 1, depth)
            fresh = self._cut(episode, start, f)[0]
            on = goes_on.to(self.device)
            given = torch.where(on[:, None, None, None, None], own.frames, fresh)
            trusted = torch.where(on[:, None], close, trusted)
        hit = torch.rand(len(start), generator=self.generator) < config.damaged
        if self.damage is not None and hit.any():
            given = given.clone()
            given[hit.to(self.device)] = self.damage(given[hit.to(self.device)])
        trusted = trusted & self.episodes.real(episode, start + 1, f).to(self.device)
        references, times = self._disturb(given)
        return Rollouts(
            episode=episode,
            start=start,
            depth=depth,
            trusted=trusted,
            given=given,
            references=references,
            reference_times=times,
            micro_step=0,
            frames=given,
        )

    def buffer_loss(self, partition: Partition) -> Tensor:
        """Loss of a moving buffer: all its chunks at once, each inside its own segment of time."""
        k, n = partition.references, partition.frames
        # as many frames being denoised in a step as in the next-frame loss
        count = max(1, self.config.clips * self.config.clip_frames // n)
        return self._buffer_loss(partition, *self.episodes.draw(count, k + n, self.generator))

    def _buffer_loss(
        self, partition: Partition, episode: Int[Tensor, " b"], start: Int[Tensor, " b"]
    ) -> Tensor:
        k, n, count = partition.references, partition.frames, len(episode)
        clips, index = self._cut(episode, start, k + n)
        target = clips[:, k:]
        times = training_times(partition, count, self.config.start_share, self.device)
        noise = torch.randn_like(target)
        given, given_times = self._disturb(clips[:, :k])
        frames = point(target, noise, times)
        view = stream_view(
            given,
            given_times,
            frames,
            times,
            causal=self.model.config.causal,
            chunk_frames=partition.chunk_frames,
            limit=self.limit,
        )
        before = (
            torch.cat([clips[:, k - 1 : k], target[:, :-1]], 1)
            if k
            else torch.cat([target[:, :1], target[:, :-1]], 1)
        )
        with eager():
            trusted = self.episodes.real(episode, start + k, n).to(self.device)
            return self._loss(view, self._prompts(index), target, noise, before, trusted)[0]

    def _loss(
        self,
        view: BufferView,
        prompts: Conditioning,
        target: Tensor,
        noise: Tensor,
        before: Tensor,
        trusted: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the velocities found for the frames being denoised;
        frames not trusted count nothing.
        """
        found = self._velocity(view, prompts, self.config.velocity_floor)
        error = (
            (found - self._bounded(view, target, noise))[:, :, : self.local]
            .square()
            .mean(2, keepdim=True)
        )
        robust = forgiving(error, self.config.kernel, self.square)
        weight = self._weight(target, before) * trusted[:, :, None, None, None]
        return (weight * robust).mean(), found

    def _velocity(self, view: BufferView, prompts: Conditioning, floor: float) -> Tensor:
        with training_precision(self.device):
            found, _ = self.model(view, prompts, None, floor)
        return found.float()

    def _bounded(self, view: BufferView, target: Tensor, noise: Tensor) -> Tensor:
        """Return the true velocity, bounded near t = 1 exactly as the model's is."""
        times = view.times[:, -target.shape[1] :, None, None, None]
        remaining = 1 - times
        return velocity(target, noise) * (
            remaining / remaining.clamp_min(self.config.velocity_floor)
        )

    def _weight(self, target: Tensor, before: Tensor) -> Tensor:
        moved = (target - before)[:, :, : self.local].square().mean(2, keepdim=True) > MOVING
        return 1 + self.config.moving * moved

    def _disturb(self, references: Tensor) -> tuple[Tensor, Tensor]:
        """Put noise on some clips' references and tell its level."""
        level = self.config.reference_noise * torch.rand(len(references), 1, device=self.device)
        level = level * (torch.rand_like(level) < 0.5)
        times = (1 - level).expand(-1, references.shape[1])
        return point(references, torch.randn_like(references), times), times

    def _cut(
        self, episode: Int[Tensor, " b"], start: Int[Tensor, " b"], frames: int
    ) -> tuple[Tensor, Tensor]:
        clips, prompts = self.episodes.clips(episode, start, frames)
        return clips.to(self.device, torch.float32), prompts.to(self.device)

    def _prompts(self, index: Int[Tensor, "b f"]) -> Conditioning:
        """Return the batch's distinct prompts, disturbed, with some frames' prompts dropped."""
        dropped = torch.rand(index.shape, device=self.device) < self.config.prompt_dropout
        said = self.table.distinct(index.masked_fill(dropped, -1))
        return disturbed(
            said, self.noise_scale, self.config.prompt_noise, self.config.prompt_hidden
        )


def forgiving(error: Tensor, kernel: float, square: float) -> Tensor:
    """Return the loss of squared errors: it hardly grows beyond the kernel.

    The mean of several places is no place: a loss that forgives large errors looks for the
    likeliest one instead. A little of the squared error keeps small moving things from vanishing
    where their places are guesses.
    """
    return kernel**2 * torch.log1p(error / kernel**2) + square * error


def optimizers(model: nn.Module, config: StreamDiTTraining) -> list[torch.optim.Optimizer]:
    """Return Muon for the blocks' matrices and AdamW for the rest of what is trained."""
    matrices = [
        p
        for name, p in model.named_parameters()
        if name.startswith("blocks") and "modulation" not in name and p.ndim == 2
    ]
    matrices = [p for p in matrices if p.requires_grad]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in chosen]
    made = [
        Muon(matrices, lr=config.rate * config.matrix_rate),
        torch.optim.AdamW(
            others, lr=config.rate * config.other_rate, weight_decay=0.0, betas=(0.9, 0.95)
        ),
    ]
    set_peaks(made, config)
    return made


def set_peaks(chosen: list[torch.optim.Optimizer], config: StreamDiTTraining) -> None:
    """Note the rates asked for, also where a checkpoint has brought others."""
    for optimizer, rate in zip(chosen, (config.matrix_rate, config.other_rate), strict=True):
        for group in optimizer.param_groups:
            group["peak"] = config.rate * rate


def prepare_step(chosen: list[torch.optim.Optimizer], progress: float, cooldown: float) -> None:
    """Forget the last gradients and set the learning rates: a short warm-up, the peak,
    and a straight way down to zero.
    """
    factor = min(1.0, (progress + 1e-4) * 100, (1 - progress) / cooldown)
    for optimizer in chosen:
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def learn(model: nn.Module, chosen: list[torch.optim.Optimizer], loss: Tensor) -> float:
    """Go down the loss's gradient, clipped to 1, and return the loss;
    neither may reach the weights unless it is finite.
    """
    if not parallel.highest(not loss.isfinite()):
        loss.backward()
        parallel.average_gradients(model.parameters())
        if nn.utils.clip_grad_norm_(model.parameters(), 1.0).isfinite():
            for optimizer in chosen:
                optimizer.step()
    return loss.item()


def train_streamdit(
    model: StreamDiT,
    episodes: LatentEpisodes,
    table: PromptTable,
    config: StreamDiTTraining,
    folder: Path,
    device: str,
    minutes: float | None = None,
    picture: Picture | None = None,
    picture_every: int = 1000,
    damage: ContextCorruption | None = None,
) -> None:
    """Train a transformer in place, resuming from the run folder; it ends up holding the averaged
    weights.

    Args:
        model: the transformer.
        episodes: training episodes.
        table: embeddings of the data set's phrases.
        config: the recipe.
        folder: run folder.
        device: where to train.
        minutes: stop this call after so long.
        picture: draws a sample picture with the averaged weights.
        picture_every: steps between pictures.
        damage: how references are damaged; None: they never are.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    model.to(device).train()
    parallel.share(model)
    trainer = StreamDiTTrainer(model, episodes.to(device), table, config, device, damage)
    average = Average(model, config.decay)
    state = {
        "model": model,
        "matrices": trainer.optimizers[0],
        "others": trainer.optimizers[1],
        "average": average,
    }
    choose_threads_for_stage(
        device, partial(_practise, model, trainer.episodes, table, config, device)
    )
    stage = Stage(folder, "streamdit", state)
    set_peaks(trainer.optimizers, config)
    trainer.generator.manual_seed(parallel.seed(1 + stage.step))
    torch.manual_seed(parallel.seed(1 + stage.step))
    for step in stage.steps(
        Budget(steps=config.steps, minutes=minutes, by_minutes=config.by_minutes)
    ):
        loss = trainer.step(stage.progress)
        average.update(model)
        if step % 50 == 0:
            stage.log(loss=loss)
        if (
            picture is not None
            and not parallel.rank()
            and step % picture_every == picture_every - 1
        ):
            kept = {k: v.clone() for k, v in model.state_dict().items()}
            average.copy_to(model)
            try:
                with eager():
                    stage.picture(f"{step + 1:06d}", picture(model))
            finally:
                model.load_state_dict(kept)
    average.copy_to(model)
    model.eval()


def _practise(
    model: StreamDiT,
    episodes: LatentEpisodes,
    table: PromptTable,
    config: StreamDiTTraining,
    device: str,
) -> None:
    """Do what a step does, on a copy of the model and few clips."""
    few = replace(config, clips=min(4, config.clips), compile=False)
    with eager():
        StreamDiTTrainer(copy.deepcopy(model), episodes, table, few, device).next_frame_loss(
            0.0
        ).backward()
