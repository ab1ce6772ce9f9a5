"""The command ``evaluate``."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from streamdit_gym.cli.command import Command
from streamdit_gym.cli.command_outputs import save_picture, write_json
from streamdit_gym.cli.option_types import (
    Count,
    CountOrZero,
    DeviceName,
    WorldName,
)
from streamdit_gym.cli.training_options import (
    choose_device,
)
from streamdit_gym.errors import StreamDiTError, require
from streamdit_gym.files import write_text


@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Judge a world: everything that is measured of it, against its real simulator, on a page."""

    world: WorldName
    """shipped name, folder or Hub id"""
    against: str | None = None
    """world whose simulator is the truth; default: the world's own"""
    partition: str = "reactive"
    """how to stream"""
    late: CountOrZero = 0
    """idle frames before what is said, besides the partition's own: 3 makes the teacher of
    `pipelined` as late as its student; not with --policies or --card"""
    teacher: str | None = None
    """a world of the same kind (name, folder or Hub id) to judge on the same episodes, as late:
    each score as a share of its
    """
    teacher_partition: str = "reactive"
    """how the teacher streams"""
    quick: bool = False
    """measure less: wider intervals, shorter streams, well under ten minutes on 2 cores"""
    episodes: Count | None = None
    """held-out episodes; default: 64, with --quick 24"""
    policies: tuple[str, ...] = ()
    """players: how well does the world rank them, compared with the simulator? random; scripted or
    scripted:0.3 (share of random moves); an agent's folder, or a file in its checkpoints/"""
    policy_env: str = "StreamDiT/PushT-Reach-v0"
    """id that they play in"""
    trust_agents: bool = False
    """also play agents that are only there as agent.zip; such a file is a program,
    and can do whatever you can
    """
    device: DeviceName | None = None
    """cpu or cuda; default: cuda if there is one"""
    html: Path | None = None
    """write the page here; default: runs/evaluate/WORLD.html"""
    json: Path | None = None
    """write the scores here as well"""
    picture: Path | None = None
    """write the film strips here as well"""
    card: bool = False
    """write the scores into the bundle: its config.json and its model card"""

    def run(self) -> None:
        """Judge a world, print the scores and write the page."""
        from streamdit_gym.bench.env_speed import EnvSettings, measure_steps
        from streamdit_gym.bench.hardware import hardware_name
        from streamdit_gym.data.film_strips import pairs_of_rows
        from streamdit_gym.envs.worlds import reference_simulator
        from streamdit_gym.evaluate import report
        from streamdit_gym.evaluate.candidate import WorldCandidate, teacher_of
        from streamdit_gym.evaluate.card import write_card
        from streamdit_gym.evaluate.comparison import beside
        from streamdit_gym.evaluate.evaluator_models import evaluator_models
        from streamdit_gym.evaluate.judge import QUICK, EvaluationConfig, gather, judge
        from streamdit_gym.world import World, find_world

        require("matplotlib", "train", "the page's plots")
        if self.late and (self.policies or self.card):
            raise StreamDiTError(
                "only frames can be late",
                given=f"--late {self.late} with --policies or --card",
                remedy="judge players, and the card's scores, without --late",
            )
        device = choose_device(self.device)
        world = World.from_pretrained(self.world, device=device)
        twin = reference_simulator(self.against or world.spec.name)
        candidate = WorldCandidate(world, self.partition, self.late)
        teacher = None
        if self.teacher is not None:
            taught = World.from_pretrained(self.teacher, device=device)
            teacher = teacher_of(candidate, taught, self.teacher_partition)
            taught.table.rows([phrase for phrases in twin.unseen for phrase in phrases])
        config = replace(QUICK if self.quick else EvaluationConfig(), workers=os.cpu_count() or 1)
        config = config if self.episodes is None else replace(config, episodes=self.episodes)
        world.table.rows(
            [phrase for phrases in twin.unseen for phrase in phrases]
        )  # if there is no encoder, say so now
        played = {}
        if self.policies:
            from streamdit_gym.agents.policy_scores import PlaySettings, mean_returns

            play_settings = PlaySettings(
                episodes=64,
                world=self.world,
                partition=self.partition,
                trust_agents=self.trust_agents,
            )
            played = mean_returns(self.policies, self.policy_env, play_settings)
        page = self.html or Path("runs") / "evaluate" / f"{world.spec.name}.html"
        eyes = evaluator_models(
            world.spec, twin, config.evaluator_training, Path("runs") / "evaluate"
        )
        print(
            f"playing {config.episodes} held-out episodes in the twin; the judge's eyes were trained on others"
        )
        evidence = gather(world.spec, twin, config, eyes)
        scores = judge(candidate, twin, evidence, config, played)
        if teacher is not None:
            print("judging its teacher on the same episodes")
            found = judge(teacher, twin, evidence, config)
            scores["beside"] = {
                "teacher": f"{self.teacher}, {teacher.partition_name}",
                "shares": beside(scores, found),
            }
        steps = []
        for envs in (1, 16):
            settings = EnvSettings(
                world=self.world, envs=envs, device=device, partition=self.partition
            )
            steps.append(asdict(measure_steps(settings, 50)))
        scores["speed"] = {"hardware": hardware_name(device), "steps": steps}
        write_json(self.json, report.plain(scores))
        print("\n" + report.text(scores))
        write_text(page, report.page(scores))
        print(f"\nthe page is {page}")
        if self.picture is not None:
            strip = pairs_of_rows(scores["strip"]["real"], scores["strip"]["generated"])
            save_picture(self.picture, strip)
        if self.card:
            print(f"wrote {write_card(find_world(self.world), world, scores)}")
