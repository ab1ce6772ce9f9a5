"""What the commands of the command line do.

Takes: a command with its arguments.  Gives: data sets, worlds, scores on disk and on the screen.
    Knows nothing of: how arguments are read.

Every command imports what it needs itself, so that none waits for another's packages.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from streamdit_gym.cli.arguments import (
    Bench,
    Correct,
    Demo,
    Distill,
    Evaluate,
    Generate,
    Inspect,
    Play,
    Record,
    Train,
)
from streamdit_gym.errors import ArgumentError, StreamDiTError, require
from streamdit_gym.files import atomic_write, write_text


def run_record(command: Record) -> None:
    """Record a data set."""
    from streamdit_gym.data.recorder import RecordConfig, record
    from streamdit_gym.envs.worlds import hard_start_of, simulator_of

    make, starts = simulator_of(command.world)
    drill, share = hard_start_of(command.world)
    config = RecordConfig(
        shards=command.shards,
        episodes=command.episodes,
        steps=command.steps,
        seed=command.seed,
        workers=command.workers,
        drill=drill,
        drilled=round(share * command.episodes) if command.drilled is None else command.drilled,
    )
    record(make.spec, make, starts, command.out or Path("recorded") / command.world, config)


def run_correct(command: Correct) -> None:
    """Record corrections."""
    from streamdit_gym.generate.dagger import CorrectionsConfig, record_corrections

    config = CorrectionsConfig(
        shards=command.shards,
        episodes=command.episodes,
        steps=command.steps,
        seed=command.seed,
        workers=command.workers,
    )
    record_corrections(command.world, command.out, config, _device(command.device))


def run_train(command: Train) -> None:
    """Train a world."""
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.envs.worlds import spec_of
    from streamdit_gym.text.prompt_encoder import MiniLMEncoder
    from streamdit_gym.train import parallel
    from streamdit_gym.train.train_codec import CodecTraining
    from streamdit_gym.train.train_heads import HeadTraining
    from streamdit_gym.train.train_looks import LooksTraining
    from streamdit_gym.train.train_streamdit import StreamDiTTraining
    from streamdit_gym.train.train_world import WorldTraining, train_world
    from streamdit_gym.world import World as Bundle

    spec = spec_of(command.world)
    out = command.out or Path("runs") / command.world
    _check_new(out, command.resume)
    if command.adapt_codec and (command.continue_from is None or command.decoder_steps):
        raise StreamDiTError(
            "--adapt-codec goes on with a given world's whole codec",
            given="--decoder-steps" if command.decoder_steps else "no world",
            allowed="--continue-from WORLD, without --decoder-steps",
            remedy="give one of the two alone",
        )
    if (
        command.looks < 0
        or command.looks % 3
        or (command.looks and not (command.adapt_codec and command.codec_steps))
    ):
        raise StreamDiTError(
            "channels for looks are three to a colour, and need a codec that learns to use them",
            given=f"--looks {command.looks}",
            allowed="0, or a multiple of three with --adapt-codec and --codec-steps",
            remedy="say --looks 15 --adapt-codec",
        )
    if not 0 <= command.keep <= 1 or (command.keep and command.continue_from is None):
        raise StreamDiTError(
            "no such share of a world to keep",
            given=f"--keep {command.keep:g}"
            + ("" if command.continue_from else " without a world"),
            allowed="0 to 1, with --continue-from WORLD",
            remedy="say --keep 0.75 --continue-from WORLD, or leave it out",
        )
    if command.words_only and command.continue_from is None:
        raise StreamDiTError(
            "new words are for a world that draws already",
            given="--words-only",
            allowed="--words-only with --continue-from WORLD",
            remedy="say which world, or train all of it",
        )
    _check_minutes(command.by_minutes, command.minutes)
    _set_threads(command.threads)
    config = WorldTraining(
        preset=command.preset,
        codec=CodecTraining(steps=command.codec_steps),
        streamdit=StreamDiTTraining(
            steps=command.steps,
            clips=command.clips,
            micro_steps=command.micro_steps,
            compile=command.compile,
            rate=command.rate,
            by_minutes=command.by_minutes,
            words_only=command.words_only,
        ),
        heads=HeadTraining(steps=command.head_steps),
        words=LooksTraining(steps=command.looks_steps),
        decoder_steps=command.decoder_steps,
        adapt_codec=command.adapt_codec,
        looks=command.looks,
        keep=command.keep,
    )
    start = None if command.continue_from is None else Bundle.from_pretrained(command.continue_from)
    dataset = Dataset(command.data or Path("recorded") / command.world)
    corrections = [Dataset(folder) for folder in command.corrections]
    with parallel.join(_device(command.device)) as device:
        world = train_world(
            spec,
            dataset,
            lambda: MiniLMEncoder(command.prompt_encoder),
            out,
            config,
            device,
            command.minutes,
            start,
            corrections,
        )
        if not parallel.rank():
            print(
                "the time is up; go on with --resume"
                if world is None
                else f"the world is in {out / 'world'}"
            )


def run_distill(command: Distill) -> None:
    """Make a student of a world."""
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.distill.distill_world import distill_world
    from streamdit_gym.distill.multistep import Distillation
    from streamdit_gym.presets import partition
    from streamdit_gym.text.prompt_encoder import MiniLMEncoder
    from streamdit_gym.train import parallel
    from streamdit_gym.world import World as Bundle

    _check_new(command.out, command.resume)
    _set_threads(command.threads)
    if command.decoder_blocks is not None:
        _distill_decoder(command)
        return
    _check_minutes(command.by_minutes, command.minutes)
    config = Distillation(
        partitions=tuple(map(partition, command.partition)),
        teacher_steps=command.teacher_steps,
        one_by_one=command.one_by_one,
        temperature=command.temperature,
        steps=command.steps,
        streams=command.streams,
        rate=command.rate,
        by_minutes=command.by_minutes,
        compile=command.compile,
    )
    world = Bundle.from_pretrained(command.world)
    dataset = Dataset(command.data or Path("recorded") / world.spec.name)
    with parallel.join(_device(command.device)) as device:
        distill_world(
            world,
            dataset,
            lambda: MiniLMEncoder(command.prompt_encoder),
            command.out,
            config,
            device,
            guidance=command.guidance,
            minutes=command.minutes,
        )
        if parallel.rank():
            return
    print("compare the student with its teacher:")
    told = []
    for cut in config.partitions:
        taught = replace(
            cut, micro_steps=config.teacher_steps, chunks=1 if config.one_by_one else cut.chunks
        )
        told.append(
            f"{command.out / 'world'} --partition {cut} --teacher {command.out / 'teacher'} --teacher-partition {taught}"
        )
    for judged in dict.fromkeys(told):
        print(f"  streamdit-gym evaluate {judged}")


def _distill_decoder(command: Distill) -> None:
    from streamdit_gym.data.dataset import Dataset
    from streamdit_gym.distill.decoder import distill_decoder
    from streamdit_gym.train import parallel
    from streamdit_gym.train.train_codec import CodecTraining
    from streamdit_gym.world import World as Bundle

    own = ("data", "out", "steps", "minutes", "resume", "device", "threads")
    told = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(command)
        if field.name not in (*own, "world", "decoder_blocks")
        and getattr(command, field.name) != field.default
    ]
    if told:
        raise StreamDiTError(
            "flags that say nothing about a decoder",
            given=f"--decoder-blocks with {' '.join(told)}",
            allowed=", ".join(f"--{name}" for name in own),
            remedy="leave the others out, or --decoder-blocks",
        )
    assert command.decoder_blocks is not None
    world = Bundle.from_pretrained(command.world)
    dataset, recipe = (
        Dataset(command.data or Path("recorded") / world.spec.name),
        CodecTraining(steps=command.steps),
    )
    with parallel.join(_device(command.device)) as device:
        made = distill_decoder(
            world, dataset, command.out, command.decoder_blocks, recipe, device, command.minutes
        )
        if parallel.rank():
            return
    if made is None:
        print("the time is up; go on with --resume")
    else:
        print(
            f"compare it with the world as it was:\n  streamdit-gym evaluate {command.out / 'world'} --teacher {command.world}"
        )


def run_evaluate(command: Evaluate) -> None:
    """Judge a world, print the scores and write the page."""
    from streamdit_gym.bench.speed import hardware, steps_of
    from streamdit_gym.envs.worlds import reference_simulator
    from streamdit_gym.evaluate import report
    from streamdit_gym.evaluate.candidate import WorldCandidate, teacher_of
    from streamdit_gym.evaluate.card import write_card
    from streamdit_gym.evaluate.comparison import beside
    from streamdit_gym.evaluate.evaluator_models import evaluator_models
    from streamdit_gym.evaluate.judge import QUICK, EvaluationConfig, gather, judge
    from streamdit_gym.train.train_world import pairs_of_rows
    from streamdit_gym.world import World as Bundle
    from streamdit_gym.world import find_world

    require("matplotlib", "train", "the page's plots")
    if command.late and (command.policies or command.card):
        raise StreamDiTError(
            "only frames can be late",
            given=f"--late {command.late} with --policies or --card",
            remedy="judge players, and the card's scores, without --late",
        )
    device = _device(command.device)
    world = Bundle.from_pretrained(command.world, device=device)
    twin = reference_simulator(command.against or world.spec.name)
    candidate = WorldCandidate(world, command.partition, command.late)
    teacher = None
    if command.teacher is not None:
        taught = Bundle.from_pretrained(command.teacher, device=device)
        teacher = teacher_of(candidate, taught, command.teacher_partition)
        taught.table.rows([phrase for phrases in twin.unseen for phrase in phrases])
    config = replace(QUICK if command.quick else EvaluationConfig(), workers=os.cpu_count() or 1)
    config = config if command.episodes is None else replace(config, episodes=command.episodes)
    world.table.rows(
        [phrase for phrases in twin.unseen for phrase in phrases]
    )  # if there is no encoder, say so now
    played = {}
    if command.policies:
        from streamdit_gym.agents.match import played as play_all

        played = play_all(
            command.policies,
            command.policy_env,
            episodes=64,
            world=command.world,
            partition=command.partition,
            trust_agents=command.trust_agents,
        )
    page = command.html or Path("runs") / "evaluate" / f"{world.spec.name}.html"
    eyes = evaluator_models(world.spec, twin, config, Path("runs") / "evaluate")
    print(
        f"playing {config.episodes} held-out episodes in the twin; the judge's eyes were trained on others"
    )
    evidence = gather(world.spec, twin, config, eyes)
    scores = judge(candidate, twin, evidence, config, played)
    if teacher is not None:
        print("judging its teacher on the same episodes")
        found = judge(teacher, twin, evidence, config)
        scores["beside"] = {
            "teacher": f"{command.teacher}, {teacher.partition_name}",
            "shares": beside(scores, found),
        }
    steps = [
        steps_of(command.world, count, 50, device, "float32", command.partition)
        for count in (1, 16)
    ]
    scores["speed"] = {"hardware": hardware(device), "steps": steps}
    _write(command.json, report.plain(scores))
    print("\n" + report.text(scores))
    write_text(page, report.page(scores))
    print(f"\nthe page is {page}")
    if command.picture is not None:
        strip = pairs_of_rows(scores["strip"]["real"], scores["strip"]["generated"])
        _save_picture(command.picture, strip)
    if command.card:
        print(f"wrote {write_card(find_world(command.world), world, scores)}")


def run_generate(command: Generate) -> None:
    """Generate a data set."""
    from streamdit_gym.generate.generate import generate
    from streamdit_gym.generate.worker import GenerateConfig

    config = GenerateConfig(
        world=command.world,
        episodes=command.episodes,
        steps=command.steps,
        player=command.player,
        task=command.task,
        seed=command.seed,
        batch=command.batch,
        images=command.images,
        over=command.over,
        strength=command.strength,
        partition=command.partition,
        dtype=command.dtype,
        device=_device(command.device),
        trust_agents=command.trust_agents,
    )
    ray = "" if command.ray == "local" else command.ray
    made = generate(config, command.out, kind=command.format, keep_if=command.keep_if, ray=ray)
    print(
        f"{made['kept']} of {made['episodes']} episodes kept, {made['frames']} frames, in {command.out}"
    )
    if made["result"] != str(command.out):
        print(f"for other programs: {made['result']}")
    print(f"look at them: streamdit-gym inspect {command.out}")


def run_inspect(command: Inspect) -> None:
    """Say what is in a data set."""
    from streamdit_gym.generate.inspect import inspect

    found = inspect(command.folder)
    print("\n".join(found.lines()))
    if found.sheet is not None:
        path = command.sheet or command.folder / "contact.png"
        _save_picture(path, found.sheet)
        print(f"the contact sheet is {path}")


def run_play(command: Play) -> None:
    """Show a stream."""
    from streamdit_gym.live.play import play
    from streamdit_gym.world import World as Bundle

    world = Bundle.from_pretrained(command.world, device=_device(command.device))
    play(
        world,
        twin=command.twin,
        fps=command.fps,
        window=command.window,
        script=command.script,
        film=command.film,
        seconds=command.seconds,
        host=command.host,
        port=command.port,
        browser=command.browser,
        out=command.out,
        partition=command.partition,
        scope=command.scope,
        transition=command.transition,
        seed=command.seed,
        autocast=command.dtype == "bfloat16",
        root_path=command.root_path,
        allow_hosts=command.allow_host,
    )


def run_bench(command: Bench) -> None:
    """Measure speed."""
    from streamdit_gym.bench.speed import bench, plot

    device = _device(command.device)
    figures = bench(
        command.world,
        command.envs,
        command.steps,
        device,
        command.dtype,
        command.partition,
        command.preset,
        command.long,
        command.compile,
    )
    _write(command.json_file, figures)
    if command.picture is not None:
        plot(figures, command.picture)


def run_demo(command: Demo) -> None:
    """Run the demo."""
    from streamdit_gym.agents.demo import demo

    demo(
        command.out,
        steps=command.steps,
        episodes=command.episodes,
        world=command.world,
        trust_agents=command.trust_agents,
    )


def _check_new(folder: Path, resume: bool) -> None:
    if not resume and list(folder.glob("*.checkpoint.pt")):
        raise StreamDiTError(
            "a run is already here",
            given=folder,
            remedy="add --resume to go on with it, or give another --out",
        )


def _set_threads(threads: int | None) -> None:
    """Compute with so many threads on a CPU; None: measure, see `streamdit_gym.threads`."""
    from streamdit_gym.checks import check_int
    from streamdit_gym.threads import choose_threads

    if threads is not None:
        choose_threads(lambda: None, threads=check_int("--threads", threads, least=1, most=1024))


def _check_minutes(by_minutes: bool, minutes: float | None) -> None:
    if by_minutes and minutes is None:
        raise StreamDiTError(
            "no minutes to go by",
            given="--by-minutes alone",
            allowed="--by-minutes with --minutes",
            remedy="say how long, --minutes 60",
        )


def _device(name: str | None) -> str:
    """Return the device that a command names, or the best one here; torch is loaded only now."""
    from streamdit_gym.device import check_device, default_device

    return default_device() if name is None else check_device(name)


def _write(path: Path | None, content: Any) -> None:
    if path is not None:
        write_text(path, json.dumps(content, indent=1) + "\n")


def _save_picture(path: Path, pixels: Any) -> None:
    if not path.suffix:
        raise ArgumentError(
            "a picture needs a format",
            given=path,
            allowed=".png, .jpg, ...",
            remedy="name it as in strip.png",
        )
    with atomic_write(path) as part:
        require("PIL.Image", "train", "a picture").fromarray(pixels).save(part)
