"""A training of an open model from start to end, in a run folder that it goes on from."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.imports.importer import import_recordings
from streamdit_gym.data.imports.recordings import ImportSettings
from streamdit_gym.errors import DatasetError, require
from streamdit_gym.open_training.flow_trainer import FlowTrainer, OpenTrainer
from streamdit_gym.open_training.latent_store import (
    EncodeTexts,
    StoredClip,
    embed_sentences,
    encode_clips,
    stored_clips,
)
from streamdit_gym.open_training.open_batches import OpenBatches, Sentences
from streamdit_gym.open_training.open_clips import (
    TARS,
    ClipSource,
    DatasetClips,
    WebDatasetClips,
)
from streamdit_gym.open_training.open_distiller import OpenDistiller
from streamdit_gym.open_training.open_settings import OpenTraining, mixture, student_partition
from streamdit_gym.open_training.sharding import shard, stage_class, whole
from streamdit_gym.open_training.trained_weights import (
    LearningWeights,
    prepare_weights,
    without_adapter,
    write_trained,
)
from streamdit_gym.open_training.training_cost import training_cost
from streamdit_gym.open_weights.load_open_model import (
    TEXT_TOKENS,
    Streaming,
    check_lengths,
    frame_rate,
    latent_grid,
    reference_time,
    streaming_of,
    text_encoder,
)
from streamdit_gym.open_weights.trained_folder import TrainedRecord
from streamdit_gym.open_weights.wan_backbone import WanBackbone
from streamdit_gym.open_weights.wan_codec import WanCodec
from streamdit_gym.open_weights.wan_folder import WanFolder, find_wan_folder
from streamdit_gym.open_weights.wan_parts import (
    load_autoencoder,
    load_text_encoder,
    load_tokenizer,
    load_transformer,
)
from streamdit_gym.stream.partition import Partition
from streamdit_gym.train import parallel
from streamdit_gym.train.loop import TrainingLoop
from streamdit_gym.train.optimization import OptimizerPart, Schedule
from streamdit_gym.train.run_files import write_config
from streamdit_gym.train.stage_context import RunOptions

log = logging.getLogger("streamdit_gym")

RESULT = "model"  # folder of what was trained
RECORDINGS = "recordings"  # of the data set that recordings become
IMPORTED_STEPS = 96  # of an episode: 25 latents
IMPORTED_NAME = "Recordings"
STAGE = "open-model"  # of the checkpoint
LOSS = "loss"  # name of the curve
BETAS = (0.9, 0.99)
# how long a process waits for another: a part of the data, a checkpoint, a step
WAIT = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """What a training of an open model works with.

    Attributes:
        folder: of the model.
        settings: of the training.
        out: the run folder.
        device: of this process.
    """

    folder: WanFolder
    settings: OpenTraining
    out: Path
    device: str

    def options(self) -> RunOptions:
        """Return where and for how long the loop trains."""
        return RunOptions(
            folder=self.out,
            device=self.device,
            minutes=self.settings.minutes,
            checkpoint_s=60 * self.settings.checkpoint_minutes,
        )


def finetune_open_model(
    name: str, data: Path, out: Path, settings: OpenTraining, device: str
) -> Path | None:
    """Train an open model on video of one's own, or go on with it.

    Args:
        name: of the model, a folder or Hub id.
        data: a data set, recordings, or a WebDataset.
        out: the run folder.
        settings: of the training.
        device: where.

    Returns:
        The folder of the result; None if the time was up before.

    Raises:
        BundleError: if there is no such model.
        DatasetError: if there is nothing to train on, or the run folder holds another training.
        MissingExtraError: if a package is missing.
        BusyError: if another run holds the run folder.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    run = open_run(name, out, settings, device)
    with parallel.run_folder(out):
        parts = mixture(settings, run.folder)
        check_config(run, "finetune", name)
        batches = prepared_batches(run, data)
        for partition, _ in parts:
            batches.check_length(partition)
        print_cost(run, parts)
        backbone = backbone_of(run, batches)
        trainer = FlowTrainer(backbone, batches, settings, device, parts)
        streaming = streaming_of(run.folder)
        return train_and_write(run, trainer, record_of(run, name, streaming, batches))


def distill_open_model(
    name: str, data: Path, out: Path, settings: OpenTraining, device: str
) -> Path | None:
    """Make a faster student of an open model on video of one's own, or go on with it.

    Args:
        name: of the teacher, a folder or Hub id.
        data: a data set, recordings, or a WebDataset.
        out: the run folder.
        settings: of the training; `prompt_dropout` means nothing here.
        device: where.

    Returns:
        The student's folder; None if the time was up before.

    Raises:
        PartitionError: if no student can learn the partitions of the settings.
        BundleError, DatasetError, MissingExtraError, BusyError, KeyboardInterrupt: as
            `finetune_open_model`.
    """
    run = open_run(name, out, replace(settings, prompt_dropout=0.0), device)
    partition = student_partition(settings, run.folder)
    with parallel.run_folder(out):
        check_config(run, "distill", name)
        batches = prepared_batches(run, data)
        batches.check_length(partition)
        print_cost(run, ((partition, 1.0),), _teacher_evaluations(settings))
        student = backbone_of(run, batches)
        trainer = OpenDistiller(
            student,
            teacher_of(run, student, batches),
            lambda: without_adapter(student.transformer, settings),
            batches,
            run.settings,
            partition,
            device,
        )
        streaming = replace(streaming_of(run.folder), partition=partition, guidance=1.0)
        return train_and_write(run, trainer, record_of(run, name, streaming, batches))


def teacher_of(run: OpenRun, student: WanBackbone, batches: OpenBatches) -> WanBackbone:
    """Return the guided teacher: the student's own base under its adapter, or a second model."""
    if run.settings.weights == "lora":
        teacher = copy.copy(student)
    else:
        transformer = load_transformer(run.folder, run.settings.precision(run.device))
        teacher = engine_model(run, shard(transformer, run.device), batches)
    teacher.config = replace(teacher.config, guidance=run.settings.guidance)
    return teacher


def _teacher_evaluations(settings: OpenTraining) -> int:
    """Return how many evaluations without gradient a step of a distillation has at most."""
    guided = 1 if settings.guidance == 1 else 2
    return guided * settings.teacher_steps + settings.max_moves


def open_run(name: str, out: Path, settings: OpenTraining, device: str) -> OpenRun:
    """Return a run whose model, packages and frames are checked."""
    if settings.weights == "lora":
        require("peft", "open", "training an adapter")
    settings.clips_of_process(parallel.processes())
    folder = find_wan_folder(name)
    latent_grid(folder, settings.frame_size)
    check_lengths(folder, [settings.negative_prompt])
    return OpenRun(folder=folder, settings=settings, out=out, device=device)


def check_config(run: OpenRun, task: str, name: str) -> None:
    """Write the settings of a new run, or refuse to go on with others.

    Raises:
        DatasetError: if the run folder holds a training with other settings.
    """
    config = {"task": task, "model": name, "weights": run.folder.weights}
    config |= run.settings.decisive()
    path = run.out / "config.json"
    with parallel.in_turn():
        if not path.is_file():
            write_config(run.out, config)
    known = json.loads(path.read_text())
    ours = json.loads(json.dumps(config, default=str))
    different = sorted(key for key in ours.keys() | known.keys() if ours.get(key) != known.get(key))
    if different:
        raise DatasetError(
            "another training is in this run folder",
            given=", ".join(f"{key}: {ours.get(key)}, not {known.get(key)}" for key in different),
            allowed="the settings that it began with",
            remedy="repeat them to go on, or give another --out",
        )


def clip_source(run: OpenRun, data: Path) -> ClipSource:
    """Return the clips of a data set, of recordings or of a WebDataset.

    Raises:
        DatasetError: if there are none.
    """
    settings = run.settings
    fps = settings.fps or frame_rate(run.folder)
    if (data / "meta.json").is_file():
        return DatasetClips(Dataset(data), settings.frame_size, settings.scene)
    if data.is_dir() and any(data.glob(TARS)):
        return WebDatasetClips(data, settings.frame_size, fps, settings.scene)
    target = run.out / RECORDINGS
    size = ",".join(map(str, settings.frame_size))
    if parallel.processes() > 1 and not (target / "meta.json").is_file():
        raise DatasetError(
            "recordings are imported by one process",
            given=data,
            allowed="recordings that are imported already, or a data set",
            remedy=f"streamdit-gym import {data} NAME --set frame_size={size} fps={fps:g},"
            " then --data recorded/NAME",
        )
    imported = ImportSettings(
        frame_size=settings.frame_size, fps=fps, cameras=settings.cameras, steps=IMPORTED_STEPS
    )
    report = import_recordings(data, IMPORTED_NAME, target, imported)
    if not parallel.rank():
        print("\n".join(report.lines()))
    return DatasetClips(Dataset(target), settings.frame_size, settings.scene)


def prepared_batches(run: OpenRun, data: Path) -> OpenBatches:
    """Return the run's clips as latents and embedded sentences, which are computed once."""
    source = clip_source(run, data)
    autoencoder = load_autoencoder(run.folder, run.settings.precision(run.device))
    codec = WanCodec(autoencoder.to(run.device))
    encode_clips(source, codec.encode, _codec_origin(run), run.out)
    del autoencoder, codec
    clips = stored_clips(run.out, len(source))
    sentences = sentences_of(clips, run.settings)
    check_lengths(run.folder, sentences)
    embedded = embed_sentences(sentences, lambda: _text_encoder(run), run.out)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    settings = run.settings
    table = Sentences.of(embedded, TEXT_TOKENS)
    return OpenBatches(clips, table, settings.seed, settings.prompt_dropout)


def sentences_of(clips: list[StoredClip], settings: OpenTraining) -> list[str]:
    """Return the negative prompt, then every sentence of the clips once, in order."""
    texts = {text for clip in clips for text in clip.sentences} - {settings.negative_prompt}
    return [settings.negative_prompt, *sorted(texts)]


def backbone_of(run: OpenRun, batches: OpenBatches) -> WanBackbone:
    """Return the model that learns, its weights prepared."""
    transformer = load_transformer(run.folder, run.settings.precision(run.device))
    prepare_weights(transformer, run.settings)
    return engine_model(run, shard(transformer, run.device).train(), batches)


def engine_model(run: OpenRun, transformer: Any, batches: OpenBatches) -> WanBackbone:
    """Return a transformer as the engine's model, without guidance."""
    negative = torch.zeros(1, 1, dtype=torch.long)
    no_prompt = batches.sentences.conditioning(negative, "cpu").tokens[0]
    return WanBackbone(
        transformer,
        no_prompt.to(run.device),
        grid=latent_grid(run.folder, run.settings.frame_size),
        references=1,
        time_shift=streaming_of(run.folder).time_shift,
        reference_time=reference_time(run.folder),
    )


def print_cost(
    run: OpenRun, parts: tuple[tuple[Partition, float], ...], teacher_evaluations: int = 0
) -> None:
    """Say what the training will take, and how that is estimated."""
    cost = training_cost(
        run.folder,
        run.settings,
        parts,
        device=run.device,
        processes=parallel.processes(),
        teacher_evaluations=teacher_evaluations,
    )
    if not parallel.rank():
        print("\n".join(cost.lines(run.device)))


def record_of(run: OpenRun, name: str, streaming: Streaming, batches: OpenBatches) -> TrainedRecord:
    """Return how the result streams, and what it was trained from."""
    text = name.removeprefix("wan:")
    base = str(Path(text).resolve()) if Path(text).is_dir() else text
    prompt = next((p for p in batches.sentences.numbers if p != run.settings.negative_prompt), "")
    return TrainedRecord(
        base=base,
        base_weights=run.folder.weights,
        partition=str(streaming.partition),
        guidance=streaming.guidance,
        time_shift=streaming.time_shift,
        frame_size=run.settings.frame_size,
        fps=run.settings.fps or frame_rate(run.folder),
        prompt=prompt,
    )


def train_and_write(run: OpenRun, trainer: OpenTrainer, record: TrainedRecord) -> Path | None:
    """Train what learns, and write the result; None if the time is up before."""
    settings = run.settings
    transformer = trainer.backbone.transformer
    module = LearningWeights(transformer)
    optimizer = torch.optim.AdamW(module.parameters(), lr=settings.peak_rate, betas=BETAS)
    loop = TrainingLoop(
        name=STAGE,
        module=module,
        trainer=trainer,
        optimizers={"optimizer": OptimizerPart(optimizer, settings.peak_rate)},
        schedule=constant_rate(settings.warmup),
        average_decay=settings.average_decay,
        seed=settings.seed,
        steps=settings.steps,
        options=run.options(),
        curve=lambda _step: LOSS,
        stage_class=stage_class(run.out, STAGE),
    )
    if not loop.run():
        return None
    target = run.out / RESULT
    learned = whole(module.state_dict())
    if not parallel.rank():
        write_trained(target, learned, transformer, run.folder, record)
    parallel.wait()
    return target


def constant_rate(warmup: int) -> Schedule:
    """Return a schedule: a linear warm-up, then the peak."""

    def factor(step: int, _progress: float) -> float:
        return min(1.0, (step + 1) / warmup)

    return factor


def _codec_origin(run: OpenRun) -> dict[str, Any]:
    return {"autoencoder": run.folder.configs["vae"], "weights": run.folder.autoencoder_weights}


def _text_encoder(run: OpenRun) -> EncodeTexts:
    """Load the text encoder to where there is room for it."""
    encoder = load_text_encoder(run.folder).to(run.device)
    return text_encoder(encoder, load_tokenizer(run.folder))
