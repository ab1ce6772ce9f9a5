"""The commands and their arguments: record, correct, train, distill, evaluate, generate, inspect,
play, bench, demo.

Agents have their own, agents/train.py and agents/evaluate.py.

Takes: nothing.  Gives: one class per command; its texts are the help.  Knows nothing of: what the
    commands do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

World = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record a data set with a world's simulator; run again to resume."""

    world: World
    """name of the world, e.g. PushT"""
    out: Path | None = None
    """folder of the data set; default: recorded/WORLD"""
    shards: int = 64
    """shards in all, those already there counted in"""
    episodes: int = 32
    """episodes per shard"""
    steps: int = 96
    """steps per episode"""
    seed: int = 0
    """the data depend on the seed and nothing else"""
    drilled: int | None = None
    """how many of a shard's episodes practise what is rare elsewhere (PushT:
    a T pressed to the walls); default: as the world asks
    """
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """processes"""


@dataclass(frozen=True, kw_only=True)
class Correct:
    """Record where a world goes astray and what its simulator says must follow,
    for train --corrections; run again to resume.
    """

    world: World
    """the world that makes the mistakes: shipped name, folder or Hub id"""
    out: Path = Path("recorded/corrections")
    """folder of the data set"""
    shards: int = 40
    """shards in all, each of them further down the same streams; those already there counted in"""
    episodes: int = 32
    """streams, and so episodes per shard"""
    steps: int = 96
    """steps per episode, as in the recorded data that they shall be trained on with"""
    seed: int = 0
    """of starts, noise and moves"""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """processes of the simulator"""
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a world on a recorded data set: codec, transformer, heads;
    run again with --resume to go on.
    """

    world: World
    """name of the world, e.g. PushT"""
    data: Path | None = None
    """the data set, see record; default: recorded/WORLD"""
    corrections: tuple[Path, ...] = ()
    """data sets of the mistakes of earlier worlds, see correct;
    the transformer is trained on them as well
    """
    out: Path | None = None
    """run folder (default: runs/WORLD): config, curves, pictures, checkpoints,
    and at the end the bundle in world/
    """
    preset: Literal["tiny", "small", "base"] = "small"
    """size of codec and transformer"""
    steps: int = 12_000
    """optimizer steps of the transformer; the learning rate ends with them"""
    codec_steps: int = 5700
    """optimizer steps of the codec"""
    decoder_steps: int = 0
    """with --continue-from: optimizer steps of that world's decoder alone"""
    adapt_codec: bool = False
    """with --continue-from: train that world's whole codec on, for --codec-steps;
    for frames that look otherwise than its own
    """
    looks: int = 0
    """with --adapt-codec: so many more latent channels, three to a colour,
    tell what frames look like, and the old ones where things are
    """
    head_steps: int = 6000
    """optimizer steps of the reward head; 0 with --continue-from: it stays that world's"""
    looks_steps: int = 6000
    """optimizer steps of the words for looks, in a world that has a palette"""
    words_only: bool = False
    """with --continue-from: of the transformer learn only what reads prompts; what draws stays,
    and with --head-steps 0 so does the head
    """
    keep: float = 0.0
    """with --continue-from: share of that world's transformer in the weights at the end, 0 to 1"""
    clips: int = 20
    """clips per step of the transformer"""
    micro_steps: int = 1
    """evaluations per frame that the transformer is trained for; of a world with several,
    distill makes one with one
    """
    rate: float = 1.0
    """factor on the transformer's learning rates; about a half to go on from a trained world"""
    minutes: float | None = None
    """stop this call after so many minutes; every stage resumes"""
    by_minutes: bool = False
    """the transformer's learning rate ends with --minutes, if they are over before the steps:
    for a machine that is lent by the hour
    """
    resume: bool = False
    """go on with what is in the run folder"""
    continue_from: str | None = None
    """start from the weights of a world (name, folder or Hub id),
    and keep its latents unless --adapt-codec
    """
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""
    threads: int | None = None
    """threads on a CPU; default: as OMP_NUM_THREADS says,
    else measured at the start of every stage: one where other programs run
    """
    compile: bool = False
    """compile the transformer"""
    prompt_encoder: str | None = None
    """folder or Hub id of the MiniLM encoder; default: the installed package, else the Hub"""


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Make a world faster: a student learns to do in one evaluation what its teacher does in
    several, guidance included.
    """

    world: World
    """the teacher: shipped name, folder or Hub id"""
    data: Path | None = None
    """a data set of the same world, see record; default: recorded/WORLD"""
    out: Path = Path("runs/student")
    """run folder: config, curves, checkpoints, and at the end the student in world/,
    the guided teacher in teacher/
    """
    partition: tuple[str, ...] = ("reactive",)
    """how the student's buffer is cut, and how many evaluations it takes: reactive, pipelined or a
    short form like K4N1c1s2; several are learned in turn, and one that is named more than once more
    often"""
    teacher_steps: int = 4
    """evaluations of the teacher per move, a multiple of the student's (with --one-by-one per
    chunk, any number); the teacher must be good at so many"""
    one_by_one: bool = False
    """the teacher draws chunk after chunk, each from noise as in reactive, and not along the
    student's buffer: for students with a longer buffer than their teacher is good at"""
    temperature: float | None = None
    """scale of the noise that the student's chunks begin with, if not that of the weights it begins
    with; 0, without noise, for a teacher that draws alike from any noise, as one with --one-by-one
    and one step does"""
    guidance: float = 1.0
    """classifier-free guidance of the teacher; 1 is none"""
    steps: int = 4000
    """optimizer steps, of all partitions together"""
    decoder_blocks: int | None = None
    """leave the transformer as it is, and train the decoder on with its first so many blocks on
    each grid, all or fewer; --steps are the decoder's, and flags about a student or a teacher do
    not go with it"""
    streams: int = 64
    """streams under way, all moved in each step; a GPU takes 1024"""
    rate: float = 0.25
    """factor on the learning rates of training; with 1024 streams a half"""
    minutes: float | None = None
    """stop this call after so many minutes"""
    by_minutes: bool = False
    """the learning rate ends with --minutes, if they are over before the steps"""
    resume: bool = False
    """go on with what is in the run folder"""
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""
    threads: int | None = None
    """threads on a CPU; default: as OMP_NUM_THREADS says,
    else measured at the start of every stage: one where other programs run
    """
    compile: bool = False
    """compile the transformers"""
    prompt_encoder: str | None = None
    """folder or Hub id of the MiniLM encoder; default: the installed package, else the Hub"""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Judge a world: everything that is measured of it, against its real simulator, on a page."""

    world: World
    """shipped name, folder or Hub id"""
    against: str | None = None
    """world whose simulator is the truth; default: the world's own"""
    partition: str = "reactive"
    """how to stream"""
    late: int = 0
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
    episodes: int | None = None
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
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""
    html: Path | None = None
    """write the page here; default: runs/evaluate/WORLD.html"""
    json: Path | None = None
    """write the scores here as well"""
    picture: Path | None = None
    """write the film strips here as well"""
    card: bool = False
    """write the scores into the bundle: its config.json and its model card"""


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Make labelled video with a world: episodes in batches, with prompts, actions,
    rewards and quality flags; run again to resume.
    """

    world: World
    """shipped name, folder or Hub id"""
    out: Path = Path("runs/generated")
    """folder of the data set; `train --data` reads it, whatever the format"""
    episodes: int = 64
    """how many"""
    steps: int = 64
    """frames per episode, beside the first"""
    player: str = "random"
    """who plays: random; scripted or scripted:0.3 (share of random moves);
    an agent's folder or checkpoint; a file of prompts (.jsonl)
    """
    trust_agents: bool = False
    """also play agents that are only there as agent.zip; such a file is a program,
    and can do whatever you can
    """
    format: Literal["mkv", "mp4", "lerobot", "minari", "webdataset"] = "lerobot"
    """how the frames lie on disk; mkv and minari lose nothing"""
    keep_if: str = ""
    """which episodes to keep, e.g. "self_consistency_error<0.1 and drift<0.2";
    the others stand in the manifest alone
    """
    task: str = "push"
    """whose reward is the reward"""
    seed: int = 0
    """the data depend on the seed, the batch, and nothing else"""
    batch: int = 32
    """episodes that are made at once, and lie in one shard"""
    images: str | None = None
    """folder of your own start frames; default: the world's bank of real ones"""
    over: str | None = None
    """data set of clips to draw over (video to video): each frame begins as the clip's,
    partly noise
    """
    strength: float = 0.5
    """how much of the clips is replaced by noise, above 0 to 1"""
    partition: str = "reactive"
    """how to stream"""
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """precision of the transformer"""
    ray: str | None = None
    """make batches with Ray, one actor per GPU or pair of cores: the address of a cluster, auto,
    or local to start it here
    """


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Look at a data set, recorded or generated: numbers, what is broken or there twice,
    and a contact sheet.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """the data set"""
    sheet: Path | None = None
    """write the contact sheet here; default: contact.png in the folder"""


@dataclass(frozen=True, kw_only=True)
class Play:
    """Watch a world as an endless stream and steer it by text: on a page, in a window,
    or into a film.
    """

    world: World
    """shipped name, folder or Hub id"""
    partition: str = "reactive"
    """how to stream; can be changed on the page"""
    scope: Literal["chunk", "buffer"] = "chunk"
    """what a new prompt steers: new chunks only, or, as in the paper, all that is in the buffer"""
    transition: int = 0
    """chunks over which a new prompt replaces the old one"""
    fps: float | None = None
    """frames per second; default: the world's own"""
    seed: int = 0
    """of start and noise"""
    twin: bool = True
    """the real simulator beside it, where there is one"""
    window: bool = False
    """an OpenCV window instead of the page"""
    script: str | None = None
    """prompts on a timeline: a file of lines {"at": SECONDS, "say": "..."};
    or - for lines from standard input, each a prompt at once
    """
    film: Path | None = None
    """write a film of the script instead of showing it"""
    seconds: float | None = None
    """length of the film in the stream's own time, as in the script; default:
    five seconds beyond its last line
    """
    host: str = "127.0.0.1"
    """address to serve; any but this machine's own makes a token that visitors need"""
    port: int = 8000
    """port to serve; 0: any free one"""
    root_path: str = ""
    """path under which a reverse proxy shows the page, such as /lab"""
    allow_host: tuple[str, ...] = ()
    """names under which a reverse proxy shows the page, such as lab.example; they make a token,
    too
    """
    browser: bool = True
    """open the page"""
    out: Path = Path("runs/play")
    """folder of films recorded on the page"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """of the model"""
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure speed: many environments in one batch, where the time goes,
    and the machine's own ceilings.
    """

    world: World = "PushT"
    """world to step"""
    envs: tuple[int, ...] = (1, 16)
    """batch sizes"""
    steps: int = 50
    """steps per batch size"""
    device: str | None = None
    """cpu or cuda; default: cuda if there is one"""
    dtype: tuple[Literal["float32", "bfloat16"], ...] = ("float32",)
    """precisions of the transformer"""
    partition: tuple[str, ...] = ("reactive",)
    """ways to stream"""
    compile: bool = False
    """compile what is measured, all but the long stream: a minute for every batch size,
    partition and precision
    """
    long: int = 0
    """also step one environment so many times: is the last step as quick as the first,
    does memory grow?
    """
    preset: str | None = None
    """also time a preset with random weights, e.g. paper-4b"""
    json_file: Path | None = None
    """write the figures here as well"""
    picture: Path | None = None
    """draw them here as well"""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train PPO in the shipped generated world for a few minutes,
    then play it there and in the real simulator.
    """

    out: Path = Path("runs/demo")
    """folder of the film, the curve and the table"""
    steps: int = 16_000
    """environment steps of training; 0 plays the agent already in the folder"""
    episodes: int = 64
    """episodes per score"""
    world: str = "PushT"
    """shipped name, folder or Hub id"""
    trust_agents: bool = False
    """also play agents that are only there as agent.zip; such a file is a program,
    and can do whatever you can
    """


Command = Record | Correct | Train | Distill | Evaluate | Generate | Inspect | Play | Bench | Demo
