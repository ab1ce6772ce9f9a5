"""What happens while an agent trains: progress, checkpoints, and comparison with the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from streamdit_gym.agents.agent_checkpoint import CHECKPOINT, GapCheck, Progress, write_checkpoint
from streamdit_gym.agents.agent_config import AgentTraining
from streamdit_gym.agents.policies.policy_file import POLICY, TrainedAgent, is_box, save_policy
from streamdit_gym.files import write_json

STEPS_BETWEEN_DISPLAYS = 20
EPISODES_DISPLAYED = 50


@dataclass(frozen=True, kw_only=True)
class ReturnGap:
    """An agent's mean return in the generated world and in its reference simulator.

    Attributes:
        generated: mean return in the generated world.
        generated_interval: half the width of its 95 % interval.
        real: mean return in the reference simulator.
        real_interval: half the width of its 95 % interval.
    """

    generated: float
    generated_interval: float
    real: float
    real_interval: float

    @property
    def excess(self) -> float:
        """How much more the world gives, as a share of the simulator's return (of 1 at least)."""
        return (self.generated - self.real) / max(1.0, abs(self.real))

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the world gives more than chance explains."""
        lowest_generated = self.generated - self.generated_interval
        return lowest_generated > self.real + self.real_interval


Compare = Callable[[TrainedAgent], ReturnGap]


class TrainingCallback(BaseCallback):
    """Records episodes, shows progress, and every so often saves and compares with the simulator.

    Args:
        config: how the agent is trained.
        folder: where to write.
        progress: how far earlier calls have come; it is updated.
        show_progress: whether to show a bar.
        compare: compares the generated world with its reference; None: no comparison.
    """

    def __init__(
        self,
        config: AgentTraining,
        folder: Path,
        progress: Progress,
        show_progress: bool,
        compare: Compare | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.folder = folder
        self.progress = progress
        self.compare = compare
        self.bar = tqdm(
            total=config.steps,
            desc=config.algo.upper(),
            unit="step",
            disable=not show_progress,
        )
        self._next_check = 0

    def _on_training_start(self) -> None:
        self.bar.update(self.num_timesteps - self.bar.n)
        self._schedule_check()

    def _on_step(self) -> bool:
        step = self.num_timesteps
        curve = self.progress.curve
        for info in self.locals["infos"]:
            if "episode" in info:
                episode_return = info["episode"]["r"]
                curve.append((step, float(episode_return)))
        self.bar.update(step - self.bar.n)
        self._display_returns()
        has_checks = self.config.check_every > 0
        if not has_checks or step < self._next_check:
            return True
        self._schedule_check()
        self.save()
        checkpoints = self.folder / "checkpoints"
        save_policy(checkpoints / f"{step:08d}.safetensors", self.trained)
        return self._check_gap()

    def _display_returns(self) -> None:
        recent = [value for _, value in self.progress.curve[-EPISODES_DISPLAYED:]]
        if recent and self.n_calls % STEPS_BETWEEN_DISPLAYS == 0:
            mean = sum(recent) / len(recent)
            self.bar.set_postfix_str(f"return of the last {len(recent)} episodes {mean:.2f}")

    @property
    def trained(self) -> TrainedAgent:
        """The agent as it is now."""
        acts_in_box = is_box(self.config, self.model)
        return TrainedAgent(agent=self.model, config=self.config, acts_in_box=acts_in_box)

    def save(self) -> None:
        """Write the checkpoint, in one move, and then what others read."""
        progress = self.progress
        progress.trained_steps = self.model.num_timesteps
        write_checkpoint(self.folder / CHECKPOINT, self.model, self.config, progress)
        write_results(self.folder, self.trained, progress)

    def _schedule_check(self) -> None:
        every = self.config.check_every
        if every:
            num_checks = self.num_timesteps // every
            self._next_check = (num_checks + 1) * every

    def _check_gap(self) -> bool:
        """Compare the world with its simulator; return whether to go on."""
        if self.compare is None:
            return True
        comparison = self.compare(self.trained)
        excess = comparison.excess
        exceeds = comparison.is_beyond_chance and excess > self.config.tolerance
        check = GapCheck(
            step=self.num_timesteps,
            generated=comparison.generated,
            real=comparison.real,
            excess=excess,
            exceeds=exceeds,
        )
        self.progress.gap.append(check)
        self._log_gap(check)
        patience = self.config.patience
        recent = self.progress.gap[-patience:]
        has_enough = len(recent) == patience
        if not has_enough or not all(check.exceeds for check in recent):
            return True
        percent = f"{100 * excess:.0f} %"
        reason = f"the world gave {percent} more than the simulator, in {patience} checks in a row"
        self.progress.stopped = reason
        self.bar.write(f"stopped: {reason}")
        return False

    def _log_gap(self, check: GapCheck) -> None:
        """Write a comparison to TensorBoard."""
        self.logger.record("gap/generated", check.generated)
        self.logger.record("gap/real", check.real)
        self.logger.record("gap/excess", check.excess)
        self.logger.dump(self.num_timesteps)


def write_results(folder: Path, trained: TrainedAgent, progress: Progress) -> None:
    """Write the policy, ``agent.json``, ``curve.json`` and ``gap.json``, each file whole."""
    save_policy(folder / POLICY, trained)
    settings = {
        **asdict(trained.config),
        "trained_steps": progress.trained_steps,
        "stopped": progress.stopped,
    }
    gap = [asdict(check) for check in progress.gap]
    contents = {"agent": settings, "curve": progress.curve, "gap": gap}
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
