"""Train the readout of the environment's own reward and end on recorded transitions."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from streamdit_gym.actions import num_action_numbers
from streamdit_gym.data.rewards import environment_task
from streamdit_gym.definition import EnvironmentTask
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.precision import training_precision
from streamdit_gym.model.transition_readout import TransitionReadout, TransitionReadoutConfig
from streamdit_gym.recipes.stage_settings import TransitionTraining
from streamdit_gym.train.latent_episodes import LatentEpisodes
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.optimization import adamw_only, cosine_schedule
from streamdit_gym.train.stage_context import RunOptions, StageContext, require_finished
from streamdit_gym.train.stages.readout_stage import MIN_STD

SEED = 3
TRANSITIONS_AT_ONCE = 1024
REWARD_BETA = 0.1  # standardised reward beyond which its loss grows linearly


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Recorded steps.

    Attributes:
        episode: of each.
        place: of the frame after it.
        rewards: that it earned.
        is_end: whether it ended its episode.
    """

    episode: Int[Tensor, " n"]
    place: Int[Tensor, " n"]
    rewards: Float[Tensor, " n"]
    is_end: Bool[Tensor, " n"]

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.episode)


def run(
    context: StageContext, codec: ConvCodec, episodes: LatentEpisodes
) -> TransitionReadout | None:
    """Return the readout; None where no task has the environment's own reward."""
    spec = context.inputs.spec
    own = environment_task(spec)
    if own is None:
        return None
    readout = TransitionReadout(
        TransitionReadoutConfig(
            channels=codec.spatial_channels,
            grid=codec.grid,
            actions=num_action_numbers(spec.actions),
        )
    )
    transitions = transitions_of(episodes, *own)
    settings = context.recipe.transitions
    trainer = TransitionTrainer(readout, episodes, transitions, settings, context.device)
    require_finished(train_transitions(trainer, context.stage_options()))
    return readout


def transitions_of(episodes: LatentEpisodes, column: int, task: EnvironmentTask) -> Transitions:
    """Return all recorded steps between recorded frames.

    Args:
        episodes: where they are.
        column: of the task's rewards.
        task: where it draws ends, the step before the last one ends an episode.
    """
    is_step = episodes.is_real.clone()
    first_step = (episodes.num_generated + 1).clamp(min=1)
    is_step &= torch.arange(episodes.length) >= first_step[:, None]
    ends = episodes.terminated
    if task.draws_ends:
        is_step &= ~ends
        ends = functional.pad(ends[:, 1:], (0, 1))
    episode, place = is_step.nonzero(as_tuple=True)
    return Transitions(
        episode=episode,
        place=place,
        rewards=episodes.rewards[episode, place, column].float(),
        is_end=ends[episode, place],
    )


def train_transitions(trainer: TransitionTrainer, options: RunOptions) -> bool:
    """Train a readout in place, and return whether all steps are done."""
    settings = trainer.settings
    loop = TrainingLoop(
        name="transitions",
        module=trainer.readout,
        trainer=trainer,
        optimizers=adamw_only(trainer.readout, settings.adamw_rate),
        schedule=cosine_schedule(),
        seed=SEED,
        steps=settings.steps,
        options=options,
    )
    return loop.run()


class TransitionTrainer:
    """The loss of a step.

    Ends are rare, so a share of every batch ends an episode; the readout's logits are corrected
    for that.

    Args:
        readout: what learns; it takes the scale of the rewards.
        episodes: training episodes.
        transitions: of these episodes.
        settings: how.
        device: where.
    """

    def __init__(
        self,
        readout: TransitionReadout,
        episodes: LatentEpisodes,
        transitions: Transitions,
        settings: TransitionTraining,
        device: str,
    ) -> None:
        self.episodes = episodes
        self.transitions = transitions
        self.settings = settings
        self.device = device
        self.ends = transitions.is_end.nonzero().flatten()
        self.num_ends = round(settings.end_share * settings.batch) if len(self.ends) else 0
        self.generator = torch.Generator()
        standardise(readout, transitions, self.num_ends / settings.batch)
        self.readout = readout.to(device).train()

    def seed(self, seed: int, _step: int) -> None:
        """Seed the choice of transitions."""
        self.generator.manual_seed(seed)

    def loss(self, _step: int, _progress: float) -> Tensor:
        """Return the loss of some transitions, with noise on their latents."""
        return self._loss(self.readout, self.generator)

    def rehearse(self) -> None:
        """Do a piece of a step, on a copy of the readout."""
        scratch = copy.deepcopy(self.readout)
        self._loss(scratch, torch.Generator()).backward()

    def _loss(self, readout: TransitionReadout, generator: torch.Generator) -> Tensor:
        rows = self._rows(generator)
        before, after, actions = inputs_of(self.episodes, self.transitions, rows, self.device)
        scale = self.settings.latent_noise * torch.rand(len(rows), 1, 1, 1, device=self.device)
        with training_precision(self.device):
            raw = readout.raw(
                before + scale * torch.randn_like(before),
                after + scale * torch.randn_like(after),
                actions,
            )
        predicted = raw.float()
        rewards = self.transitions.rewards[rows].to(self.device)
        is_end = self.transitions.is_end[rows].to(self.device, torch.float32)
        standardised = (rewards - readout.centre) / readout.spread
        reward_loss = functional.smooth_l1_loss(predicted[:, 0], standardised, beta=REWARD_BETA)
        end_loss = functional.binary_cross_entropy_with_logits(predicted[:, 1], is_end)
        return reward_loss + end_loss

    def _rows(self, generator: torch.Generator) -> Int[Tensor, " n"]:
        """Return which transitions are learned from: some ends, and any others."""
        num_others = self.settings.batch - self.num_ends
        others = torch.randint(len(self.transitions), (num_others,), generator=generator)
        if not self.num_ends:
            return others
        choice = torch.randint(len(self.ends), (self.num_ends,), generator=generator)
        return torch.cat([self.ends[choice], others])


def standardise(readout: TransitionReadout, transitions: Transitions, end_share: float) -> None:
    """Set a readout's scale to that of the data, and the correction of its ends' logits.

    Args:
        readout: is changed.
        transitions: recorded steps.
        end_share: share of ends that training shows beside the others.
    """
    rewards = transitions.rewards
    readout.centre.copy_(rewards.mean())
    readout.spread.copy_(rewards.std().clamp_min(MIN_STD))
    if not end_share:
        return
    recorded = transitions.is_end.float().mean()
    shown = end_share + (1 - end_share) * recorded
    offset = recorded.logit(eps=1e-6) - shown.logit(eps=1e-6)
    readout.end_offset.copy_(offset)


def inputs_of(
    episodes: LatentEpisodes, transitions: Transitions, rows: Int[Tensor, " n"], device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the latents before and after some transitions, and their actions."""
    episode = transitions.episode[rows]
    place = transitions.place[rows]
    before = episodes.latents[episode, place - 1]
    after = episodes.latents[episode, place]
    actions = episodes.actions[episode, place]
    return (
        before.to(device, torch.float32),
        after.to(device, torch.float32),
        actions.to(device),
    )


@torch.no_grad()
def transition_errors(
    readout: TransitionReadout,
    held_out: LatentEpisodes,
    column: int,
    task: EnvironmentTask,
    device: str,
) -> dict[str, float]:
    """Return how well recorded transitions are read that were not learned from.

    Args:
        readout: the readout.
        held_out: episodes.
        column: of the task's rewards.
        task: says from which probability an end counts.
        device: where.

    Returns:
        Correlation of the rewards (NaN where all are the same); where ends are drawn, how many
        are expected for every one that came; elsewhere false ends per 1,000 steps, and the share
        of ends that are read (NaN where there are none).
    """
    transitions = transitions_of(held_out, column, task)
    predicted: list[Tensor] = []
    probabilities: list[Tensor] = []
    for rows in torch.arange(len(transitions)).split(TRANSITIONS_AT_ONCE):
        reward, end_logit = readout(*inputs_of(held_out, transitions, rows, device))
        predicted.append(reward.cpu())
        probabilities.append(end_logit.sigmoid().cpu())
    rewards = torch.stack([torch.cat(predicted), transitions.rewards])
    reward_correlation = torch.corrcoef(rewards)[0, 1].item()
    ends = torch.cat(probabilities)
    is_end = transitions.is_end
    if task.draws_ends:
        return {
            "reward_correlation": reward_correlation,
            "ends_expected_for_every_real_one": (ends.sum() / is_end.sum()).item(),
        }
    reads_end = ends > task.threshold
    return {
        "reward_correlation": reward_correlation,
        "false_ends_per_1000_steps": 1000 * reads_end[~is_end].float().mean().item(),
        "ends_read": reads_end[is_end].float().mean().item(),
    }
