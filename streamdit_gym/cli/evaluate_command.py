"""The command ``evaluate``."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import save_picture
from streamdit_gym.cli.option_types import (
    Count,
    CountOrZero,
    DeviceName,
    Minutes,
    Several,
    WorldName,
)
from streamdit_gym.cli.settings_option import Settings
from streamdit_gym.cli.training_options import choose_device
from streamdit_gym.cli.world_argument import (
    bundle_of,
    data_of,
    definition_of,
    definition_of_spec,
)
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.files import write_text

if TYPE_CHECKING:
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.definition import WorldDefinition
    from streamdit_gym.evaluate.candidate import WorldCandidate
    from streamdit_gym.evaluate.evaluation import EvaluationConfig
    from streamdit_gym.evaluate.schema import PolicyReturns, Scores, SpeedMetrics
    from streamdit_gym.world import World

PAGE_MODULES = ("matplotlib", "PIL")
RUN_FOLDER = Path("runs") / "evaluate"
POLICY_EPISODES = 64
SPEED_STEPS = 50
SPEED_ENVS = (1, 16)


@dataclass(frozen=True, kw_only=True)
class EvaluationDetails:
    """The settings of `evaluate`.

    Attributes:
        partition: how the world streams.
        teacher_partition: how its teacher streams.
        policy_env: id of the environment in which policies act; None: that of the world's first
            task, of PushT reaching.
        episodes: held-out episodes; None: as many as `--quick` or its absence says.
        extra_latency: idle frames before the first prompt, besides the partition's own.
        definition: Python file that registers the world of a bundle's folder.
        data: recordings of a world without a simulator, whose last shards are held out.
        future_starts: starts of which many futures are drawn; None: as `--quick` or its absence
            says.
        futures: of each of them; None: the same.
        future_frames: of each future; None: the same.
        minutes: measure about as much of a quick evaluation as fits; None: all of it.
    """

    partition: str = "reactive"
    teacher_partition: str = "reactive"
    policy_env: str | None = None
    episodes: Count | None = None
    extra_latency: CountOrZero = 0
    definition: str = ""
    data: str = ""
    future_starts: Count | None = None
    futures: Several | None = None
    future_frames: Count | None = None
    minutes: Minutes | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measure a world against its simulator or held-out recordings; write a page and scores."""

    setting_types: ClassVar[Mapping[str, Any]] = get_type_hints(
        EvaluationDetails, include_extras=True
    )

    world: WorldName
    """name, folder or Hub id; or a Python file that registers the world"""
    teacher: str | None = None
    """a world of the same kind (name, folder or Hub id) to compare with, on the same episodes and
    with the same latency"""
    quick: bool = False
    """measure less: wider intervals, shorter streams, well under ten minutes on 2 cores"""
    policies: tuple[str, ...] = ()
    """how well does the world rank these, compared with the simulator? random; scripted or
    scripted:0.3 (share of random moves); an agent's folder, or a file in its checkpoints/"""
    trust_agents: bool = False
    """also load agents of which only agent.zip is there; such a file is a program,
    and can do whatever you can
    """
    set: Settings = ()
    """partition=reactive: how to stream
    teacher_partition=reactive: how the teacher streams
    policy_env: id of the environment in which policies act; default: the world's first task, of
    PushT StreamDiT/PushT-Reach-v0
    episodes=64: held-out episodes; with --quick 24
    extra_latency=0: idle frames before the first prompt, besides the partition's own: 3 makes the
    teacher of `pipelined` as late as its student; not with --policies or --card
    definition=FILE.py: the Python file that registers the world of a bundle's folder
    data=FOLDER: recordings of a world without a simulator, whose last shards are held out;
    default: recorded/NAME
    future_starts=16: starts of which many futures are drawn; with --quick 4
    futures=16: futures of each, under the same actions; with --quick 8
    future_frames=24: frames of each future
    minutes=5: measure about as much of what --quick does as fits into so many minutes
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    out: Path | None = None
    """folder of page.html, scores.json and strips.png; default: runs/evaluate/NAME"""
    card: bool = False
    """write the scores into the bundle: its config.json and its model card"""

    @cached_property
    def bundle(self) -> str:
        """Name or folder under which the world can be loaded."""
        return bundle_of(self.world)

    def run(self) -> None:
        """Evaluate a world, print the scores and write the page."""
        from streamdit_gym.evaluate.candidate import WorldCandidate
        from streamdit_gym.evaluate.evaluation import collect_evidence, evaluate_world
        from streamdit_gym.world import World

        start = time.monotonic()
        for module in PAGE_MODULES:
            require(module, "evaluate", "the page")
        details = EvaluationDetails(**self.settings())
        self._check_latency(details)
        device = choose_device(self.device)
        if details.definition:
            definition_of(details.definition)  # registers it
        world = World.from_pretrained(self.bundle, device=device)
        reference = definition_of_spec(world.spec).for_evaluation()
        candidate = WorldCandidate(world, details.partition, details.extra_latency)
        _embed_unseen_phrases(world, reference)
        teacher = self._teacher(candidate, reference, details.teacher_partition)
        policy_returns = self._policy_returns(details)
        dataset = self._dataset(reference, details)
        config = self._config(details)
        if details.minutes is not None:
            seconds = 60 * details.minutes - (time.monotonic() - start)
            config = _within(seconds, config, candidate, reference, dataset)
        if reference.make_simulator is not None:
            print(f"recording {config.episodes} held-out episodes in the reference simulator")
        evidence = collect_evidence(world.spec, reference, config, RUN_FOLDER, dataset)
        scores = evaluate_world(candidate, reference, evidence, config, policy_returns)
        if teacher is not None:
            from streamdit_gym.evaluate.comparison import compare

            print("evaluating its teacher on the same episodes")
            teacher_scores = evaluate_world(teacher, reference, evidence, config)
            teacher_name = f"{self.teacher}, {teacher.partition_name}"
            scores = replace(scores, comparison=compare(scores, teacher_scores, teacher_name))
        self._write(world, replace(scores, speed=self._speed(device, details.partition)))

    def _check_latency(self, details: EvaluationDetails) -> None:
        if details.extra_latency and (self.policies or self.card):
            raise StreamDiTError(
                "only frames can have extra latency",
                given=f"extra_latency={details.extra_latency} with --policies or --card",
                remedy="evaluate policies, and the card's scores, without extra_latency",
            )

    def _config(self, details: EvaluationDetails) -> EvaluationConfig:
        from streamdit_gym.evaluate import evaluation

        is_quick = self.quick or details.minutes is not None
        config = evaluation.QUICK if is_quick else evaluation.EvaluationConfig()
        if details.episodes is not None:
            config = replace(config, episodes=details.episodes)
        futures = {
            "starts": details.future_starts,
            "futures": details.futures,
            "frames": details.future_frames,
        }
        named = {name: count for name, count in futures.items() if count is not None}
        config = replace(config, futures=replace(config.futures, **named))
        return replace(config, workers=os.cpu_count() or 1)

    def _dataset(self, reference: WorldDefinition, details: EvaluationDetails) -> Dataset | None:
        """Return the recordings of a world without a simulator."""
        if reference.make_simulator is not None:
            return None
        return data_of(reference.name, Path(details.data) if details.data else None)

    def _teacher(
        self, student: WorldCandidate, reference: WorldDefinition, partition: str
    ) -> WorldCandidate | None:
        from streamdit_gym.evaluate.candidate import teacher_of
        from streamdit_gym.world import World

        if self.teacher is None:
            return None
        world = World.from_pretrained(bundle_of(self.teacher), device=str(student.world.device))
        teacher = teacher_of(student, world, partition)
        _embed_unseen_phrases(world, reference)
        return teacher

    def _policy_returns(self, details: EvaluationDetails) -> dict[str, PolicyReturns]:
        from streamdit_gym.evaluate.schema import PolicyReturns

        if not self.policies:
            return {}
        from streamdit_gym.agents.agent_envs import default_env
        from streamdit_gym.agents.policy_scores import EvaluationSettings, mean_returns

        settings = EvaluationSettings(
            episodes=POLICY_EPISODES,
            world=self.bundle,
            partition=details.partition,
            trust_agents=self.trust_agents,
        )
        returns = mean_returns(
            self.policies, details.policy_env or default_env(self.bundle), settings
        )
        return {
            name: PolicyReturns(generated=generated, real=real)
            for name, (generated, real) in returns.items()
        }

    def _speed(self, device: str, partition: str) -> SpeedMetrics:
        from streamdit_gym.bench.env_speed import StepSettings, measure_steps
        from streamdit_gym.bench.hardware import hardware_name
        from streamdit_gym.evaluate.schema import SpeedMetrics, VectorEnvSpeed

        steps = []
        for envs in SPEED_ENVS:
            settings = StepSettings(
                world=self.bundle, envs=envs, device=device, partition=partition
            )
            speed = measure_steps(settings, SPEED_STEPS)
            steps.append(
                VectorEnvSpeed(
                    envs=envs,
                    steps_per_s=speed.steps_per_s,
                    p50_ms=speed.p50_ms,
                    p95_ms=speed.p95_ms,
                )
            )
        return SpeedMetrics(hardware=hardware_name(device), steps=tuple(steps))

    def _write(self, world: World, scores: Scores) -> None:
        from streamdit_gym.data.film_strips import pairs_of_rows
        from streamdit_gym.evaluate.card import write_card
        from streamdit_gym.evaluate.html_report import html_report
        from streamdit_gym.evaluate.report import text_report
        from streamdit_gym.world import find_world

        folder = self.out or RUN_FOLDER / world.spec.name
        write_text(folder / "scores.json", scores.to_json())
        print("\n" + text_report(scores))
        write_text(folder / "page.html", html_report(scores))
        print(f"\nthe page is {folder / 'page.html'}")
        if scores.film_strips is not None:
            strips = scores.film_strips
            save_picture(folder / "strips.png", pairs_of_rows(strips.real, strips.generated))
        if self.card:
            print(f"wrote {write_card(find_world(self.bundle), world, scores)}")


def _embed_unseen_phrases(world: World, reference: WorldDefinition) -> None:
    """Embed the phrases that no training has seen; without an encoder this fails early."""
    world.table.rows([phrase for phrases in reference.evaluation.unseen for phrase in phrases])


def _within(
    seconds: float,
    full: EvaluationConfig,
    candidate: WorldCandidate,
    reference: WorldDefinition,
    dataset: Dataset | None,
) -> EvaluationConfig:
    """Return as much of an evaluation as fits into the time on this machine."""
    from streamdit_gym.evaluate.evaluation import real_episodes
    from streamdit_gym.evaluate.time_budget import config_within, estimated_seconds, measure_costs

    start = time.monotonic()
    source = real_episodes(reference, dataset)
    costs = measure_costs(candidate, source, full.evaluator_training.seed)
    left = seconds - (time.monotonic() - start)
    config = config_within(left, full, costs, reference)
    minutes = estimated_seconds(config, costs, reference) / 60
    print(
        f"measuring {config.episodes} held-out episodes up to frame {max(config.horizons)}"
        f" in about {minutes:.1f} minutes"
    )
    return config
