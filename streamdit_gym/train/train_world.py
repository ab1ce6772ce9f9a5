"""A whole world from a data set: codec, latents, heads, words for looks, transformer, bundle.

Takes: a data set and a spec.  Gives: a World in the run folder.  Knows nothing of: simulators,
    Gymnasium.

Every stage resumes: calling again with the same folder goes on where the last call stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from streamdit_gym.checks import check_choice, check_fields, check_real
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.data.definition_checks import check_definition
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.files import writing_to
from streamdit_gym.model.appearance import PromptedPalette
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.presets import PARTITIONS, PRESETS, Preset, preset
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.text.prompt_encoder import PromptEncoder
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.train import parallel
from streamdit_gym.train.context_corruption import ContextCorruption
from streamdit_gym.train.latents import HELD_OUT, LatentEpisodes, encode_dataset, latents_path
from streamdit_gym.train.run import AGAIN, MAX_MINUTES, MAX_STEPS, saving, write_config
from streamdit_gym.train.train_codec import CodecTraining, Pairs, train_codec
from streamdit_gym.train.train_heads import HeadTraining, head_errors, train_heads
from streamdit_gym.train.train_looks import LooksTraining, Palettes, train_looks
from streamdit_gym.train.train_streamdit import StreamDiTTraining, train_streamdit
from streamdit_gym.train.widen import widened_codec, widened_model
from streamdit_gym.world import Starts, World

CARRIED_WAYS = 6  # phrases per action that the bundle carries, the environment's own first
CODEC_FRAMES = 120_000  # most frames kept in memory for the codec
MAX_CODEC_FRAMES = 100_000_000
MAX_PALETTE_CHANNELS = 300
MAX_STARTS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class WorldTraining:
    """How a world is trained.

    Attributes:
        preset: named size of codec and transformer.
        codec: recipe of the codec.
        streamdit: recipe of the transformer.
        heads: recipe of the reward head.
        words: recipe of the words for looks, in a world that has a palette.
        decoder_steps: steps to go on with the decoder of the world that is continued; its latents
            stay what they are.
        adapt_codec: go on with that world's whole codec instead, by its own recipe; what a latent
            means may change.
        looks: latent channels that the continued world's codec and transformer get, a palette of
            three to a colour; the old ones go on telling where things are, as in the looks that
            they know.
        keep: share that the continued world's transformer has in the weights that the training ends
            with: what it draws suffers less from a short training, and what is new is learned
                nearly as well (Wortsman et al., arXiv 2109.01903).
        codec_frames: most frames kept in memory for the codec.
        starts: most start frames in the bundle.
    """

    preset: str = "small"
    codec: CodecTraining = field(default_factory=CodecTraining)
    streamdit: StreamDiTTraining = field(default_factory=StreamDiTTraining)
    heads: HeadTraining = field(default_factory=HeadTraining)
    words: LooksTraining = field(default_factory=LooksTraining)
    decoder_steps: int = 0
    adapt_codec: bool = False
    looks: int = 0
    keep: float = 0.0
    codec_frames: int = CODEC_FRAMES
    starts: int = 512

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, PRESETS)
        check_fields(
            self,
            ints={
                "decoder_steps": (0, MAX_STEPS),
                "looks": (0, MAX_PALETTE_CHANNELS),
                "codec_frames": (1, MAX_CODEC_FRAMES),
                "starts": (1, MAX_STARTS),
            },
            reals={"keep": (0, 1)},
            bools=("adapt_codec",),
        )


def train_world(
    spec: WorldSpec,
    dataset: Dataset,
    make_encoder: Callable[[], PromptEncoder],
    folder: Path,
    config: WorldTraining,
    device: str,
    minutes: float | None = None,
    continue_from: World | None = None,
    corrections: Sequence[Dataset] = (),
) -> World | None:
    """Train a world, or go on with it, and write the bundle into ``folder/world``.

    The heads look at single real frames and come before the transformer, so that every call that
    reaches the transformer ends with a bundle that can be used.

    Args:
        spec: the world.
        dataset: recorded with the same spec.
        make_encoder: makes what embeds the data set's phrases; called only if that was never done.
        folder: run folder.
        config: the recipe.
        device: ``"cpu"`` or ``"cuda"``.
        minutes: stop this call after so long; the stage at hand is checkpointed.
        continue_from: a world whose weights to start from; its latents, and so its encoder, are
            kept unless the codec shall adapt.
        corrections: where earlier worlds went astray and what must follow; the transformer learns
            from it as well.

    Returns:
        The world, or None if the time was up before the transformer began.

    Raises:
        DatasetError: if the data set is of another world, too small, or of too short episodes, or
            the corrections do not fit it.
        DefinitionError: if the world's definition is wrong.
        BusyError: if another run holds the run folder.
        StorageError: if the run folder cannot be written to.
        StreamDiTError: if there are no heads to train or to keep, or a world that has a palette
            shall get another.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    if minutes is not None:
        minutes = check_real("minutes", minutes, least=0, most=MAX_MINUTES)
    check_definition(spec)
    check_dataset(dataset, spec)
    check_phrases(dataset, spec)
    check_size(config, spec, continue_from)
    if dataset.meta["steps"] < config.streamdit.clip_frames:
        raise DatasetError(
            "too short episodes",
            given=f"{dataset.meta['steps']} steps",
            allowed=f"{config.streamdit.clip_frames} or more",
            remedy="record longer ones",
        )
    if config.looks and continue_from is not None and continue_from.codec.config.palette_channels:
        raise StreamDiTError(
            "the continued world has a palette already",
            given=f"looks {config.looks}",
            allowed="0",
            remedy="leave --looks out",
        )
    given = None if continue_from is None else _given_heads(continue_from, dataset, spec, config)
    if given is None and not config.heads.steps:
        raise StreamDiTError(
            "there are no heads to keep",
            given="head steps 0",
            allowed="1 or more, or going on with a world whose latents and scores stay",
            remedy="leave --head-steps out",
        )
    for more in corrections:
        check_corrections(more, dataset)
    settings = {
        "world": spec.name,
        "data_seed": dataset.meta["seed"],
        "shards": len(dataset),
        "corrections": [str(more.folder) for more in corrections],
        **dataclasses.asdict(config),
    }
    with parallel.run_folder(folder):
        check_shards(dataset, folder / "latents")
        for more in corrections:
            check_shards(more, corrected_latents(folder, more))
        write_config(folder, settings)
        return _train_stages(
            spec,
            dataset,
            make_encoder,
            folder,
            config,
            device,
            minutes,
            continue_from,
            corrections,
            given,
        )


def _train_stages(
    spec: WorldSpec,
    dataset: Dataset,
    make_encoder: Callable[[], PromptEncoder],
    folder: Path,
    config: WorldTraining,
    device: str,
    minutes: float | None,
    continue_from: World | None,
    corrections: Sequence[Dataset],
    given: Readout | None,
) -> World | None:
    """Train what is still to be trained of a checked run; see `train_world`."""
    with parallel.in_turn():
        table = embed_phrases(
            make_encoder, dataset
        )  # now, since whatever it lacks should not be missed hours later
    deadline = None if minutes is None else time.monotonic() + 60 * minutes

    def left() -> float | None:
        return None if deadline is None else max(0.0, (deadline - time.monotonic()) / 60)

    name = (
        config.preset if continue_from is None else continue_from.facts.get("preset", config.preset)
    )
    sizes = preset(config.preset)
    codec = _codec(sizes, dataset, folder, config, device, left(), continue_from)
    if codec is None:
        return None
    known = (
        copy.deepcopy(continue_from.codec).to(device)
        if continue_from is not None and codec.config.palette_channels and dataset.painted
        else None
    )
    with parallel.in_turn():
        episodes = encode_dataset(dataset, codec, folder / "latents", device, known)
    train, held_out = episodes.split(held_out_shards(dataset) * dataset.meta["episodes"])
    heads = given or Readout(
        ReadoutConfig(
            channels=codec.spatial_channels,
            grid=codec.grid,
            state_names=spec.state_names,
            score_names=spec.score_names,
        )
    )
    if not train_heads(heads, train, config.heads, folder, device, left()):
        return None
    with parallel.in_turn():
        learned = train
        for more in corrections:
            learned = learned.joined(
                encode_dataset(more, codec, corrected_latents(folder, more), device)
            )
    model = (
        StreamDiT(sizes.model)
        if continue_from is None
        else widened_model(continue_from.model, config.looks)
    )
    if isinstance(model.appearance, PromptedPalette) and not train_looks(
        model.appearance,
        Palettes(train, model.config.spatial_channels),
        table,
        config.words,
        folder,
        device,
        left(),
    ):
        return None
    words = copy.deepcopy(model.appearance)
    train_streamdit(
        model,
        learned,
        table,
        config.streamdit,
        folder,
        device,
        left(),
        picture=lambda trained: film_strip(trained, codec, table, held_out, device),
        damage=ContextCorruption(codec=codec),
    )
    model.appearance = words  # a checkpoint may have brought those of an earlier call
    if continue_from is not None and config.keep:
        with torch.no_grad():
            for name, weight in continue_from.model.named_parameters():
                if not name.startswith("appearance."):
                    model.get_parameter(name).lerp_(weight.to(device), config.keep)
    carried = carried_phrases(spec)
    rows = table.rows(carried)
    begun = beginnings(dataset.meta, len(train))[: config.starts]
    world = World(
        spec=spec,
        model=model.requires_grad_(False),
        codec=codec.requires_grad_(False),
        readout=heads.requires_grad_(False),
        table=PromptTable(carried, table.tokens[rows], table.mask[rows], table.pooled[rows]).to(
            device, torch.float32
        ),
        starts=Starts(
            latents=train.latents[begun, 0].float().to(device), states=train.states[begun, 0]
        ),
        facts={
            "license": "Apache-2.0",
            "prompt_encoder": "all-MiniLM-L6-v2",
            "preset": name,
            "training_frames": int(learned.latents.shape[0] * learned.latents.shape[1]),
            "corrected_episodes": int((learned.astray > 0).sum()),
            "heads_on_held_out_real_frames": head_errors(heads, held_out, device),
        },
    )
    save_world(world, folder / "world")
    return world


def save_world(world: World, folder: Path) -> None:
    """Write a run's bundle, in the first process."""
    if parallel.rank():
        return
    with writing_to(folder, AGAIN):
        try:
            world.save_pretrained(folder)
        except SafetensorError as error:  # so safetensors says that a disk is full
            raise OSError(str(error)) from error


def corrected_latents(folder: Path, corrections: Dataset) -> Path:
    """Return where a run keeps the latents of corrections."""
    return folder / f"latents-{corrections.folder.name}"


def _given_heads(
    given: World, dataset: Dataset, spec: WorldSpec, config: WorldTraining
) -> Readout | None:
    """Return a copy of the continued world's heads,
    if places will be told and things be scored as there; else None.
    """
    kept = not config.adapt_codec or (
        (given.codec.config.palette_channels or config.looks) and dataset.painted
    )
    told = (given.readout.config.state_names, given.readout.config.score_names) == (
        spec.state_names,
        spec.score_names,
    )
    return copy.deepcopy(given.readout).requires_grad_(True) if kept and told else None


def beginnings(meta: dict[str, Any], episodes: int) -> list[int]:
    """Return which episodes begin as an environment may:
    those at a shard's end that were drilled do not.
    """
    own = meta["episodes"] - meta.get("drilled", 0)
    return [number for number in range(episodes) if number % meta["episodes"] < own]


def _codec(
    sizes: Preset,
    dataset: Dataset,
    folder: Path,
    config: WorldTraining,
    device: str,
    minutes: float | None,
    given: World | None,
) -> ConvCodec | None:
    """Return the codec already trained in this run, the given world's, or train it;
    None if the time was up.
    """
    if given is not None:
        codec, recipe = widened_codec(given.codec, config.looks), config.codec
        if not config.adapt_codec:
            recipe = dataclasses.replace(recipe, steps=config.decoder_steps, decoder_only=True)
    elif sizes.codec is not None:
        codec, recipe = ConvCodec(sizes.codec), config.codec
    else:
        raise DatasetError(
            "this preset has no trainable codec",
            given=config.preset,
            allowed="tiny, small, base",
            remedy="choose another preset",
        )
    path = folder / "codec.safetensors"
    if not recipe.steps:
        return codec.to(device).eval()
    if path.is_file():
        try:
            codec.load_state_dict(load_file(str(path)))
        except SafetensorError as error:
            raise StreamDiTError(
                "the run's codec cannot be read",
                given=f"{path}: {error}",
                remedy="delete the file; it is made anew from its checkpoint",
            ) from error
        except RuntimeError as error:
            raise StreamDiTError(
                "the run's codec is of another size",
                given=path,
                remedy="use the settings it was made with, or another run folder",
            ) from error
        return codec.to(device).eval()
    shards = codec_shards(dataset, config.codec_frames)
    frames, held_out = codec_frames(dataset, shards)
    pairs = None
    if codec.config.palette_channels and given is not None and config.adapt_codec:
        pairs = Pairs(
            plain=np.concatenate([dataset.plain(i) for i in range(shards)]),
            codec=copy.deepcopy(given.codec).to(device),
        )
    if not train_codec(codec, frames, held_out, recipe, folder, device, minutes, pairs):
        return None
    if not parallel.rank():
        with saving(path) as part:
            save_file(
                {key: value.cpu().contiguous() for key, value in codec.state_dict().items()},
                str(part),
            )
    return codec


def codec_shards(dataset: Dataset, most: int = CODEC_FRAMES) -> int:
    """Return how many shards a codec is trained on: of so many frames at most,
    and none that is held out.
    """
    per_shard = dataset.meta["episodes"] * (dataset.meta["steps"] + 1)
    return max(1, min(len(dataset) - held_out_shards(dataset), most // per_shard))


def codec_frames(
    dataset: Dataset, shards: int
) -> tuple[UInt8[np.ndarray, "e f h w 3"], UInt8[np.ndarray, "m h w 3"]]:
    """Return the frames of so many shards, and held out ones."""
    held_out = dataset.shard(len(dataset) - 1).frames
    return np.concatenate([dataset.shard(i).frames for i in range(shards)]), held_out.reshape(
        -1, *held_out.shape[2:]
    )


def check_dataset(dataset: Dataset, spec: WorldSpec) -> None:
    """Refuse a data set that a world cannot be trained on.

    Raises:
        DatasetError: if it is of another world, or too small to hold anything out.
    """
    expected = {
        "world": spec.name,
        "size": spec.size,
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
    }
    for key, value in expected.items():
        if dataset.meta[key] != value:
            raise DatasetError(
                f"the data set is of another world: {key} differs",
                given=dataset.meta[key],
                allowed=value,
                remedy="record it for this world",
            )
    if dataset.meta.get("astray"):
        raise DatasetError(
            "a world's own frames cannot be all that is learned",
            given=dataset.folder,
            allowed="recorded data",
            remedy="give it as --corrections, beside --data",
        )
    if len(dataset) < 2:
        raise DatasetError(
            "too small a data set",
            given=f"{len(dataset)} shard",
            allowed="2 or more",
            remedy="record more; the last are held out",
        )


def check_phrases(dataset: Dataset, spec: WorldSpec) -> None:
    """Refuse a data set in which phrases were not said that the bundle shall carry.

    Raises:
        DatasetError: if one of these phrases is missing.
    """
    missing = set(carried_phrases(spec)) - set(dataset.phrases)
    if missing:
        raise DatasetError(
            "the data set was recorded with another menu",
            given=f"nobody says {min(missing)!r} in {dataset.folder}",
            allowed=f"the {CARRIED_WAYS} first phrases of every action",
            remedy="record it anew, or put the phrases further back in the menu",
        )


def check_size(config: WorldTraining, spec: WorldSpec, continue_from: World | None) -> None:
    """Refuse a codec for frames of another size than the world's.

    Raises:
        StreamDiTError: if the preset's codec, or the continued world's, is one.
    """
    sizes = preset(config.preset).codec
    size = (
        continue_from.codec.size
        if continue_from is not None
        else None
        if sizes is None
        else sizes.size
    )
    if size is not None and size != spec.size:
        raise StreamDiTError(
            "the codec is for frames of another size",
            given=f"{size} pixels: {'the continued world' if continue_from is not None else f'preset {config.preset}'}",
            allowed=f"{spec.size} pixels: the definition of {spec.name}",
            remedy=f"let the simulator draw {size} x {size} pixels, or add a preset for {spec.size}",
        )


def check_shards(dataset: Dataset, latents: Path | None = None) -> None:
    """Read every shard of a data set before hours are spent on it; of several processes the first
    one does.

    Args:
        dataset: the data set.
        latents: where the shards' latents are kept; those that are there need no frames any more.

    Raises:
        DatasetError: if a file is missing or cut, or holds what cannot be learned from.
    """
    if parallel.rank():
        return
    for position in tqdm(
        range(len(dataset)), desc="check", unit="shard", mininterval=2.0, leave=False
    ):
        if latents is None or not latents_path(latents, dataset, position).is_file():
            dataset.check_shard(position)


def carried_phrases(spec: WorldSpec) -> list[str]:
    """Return the phrases whose embeddings a bundle carries."""
    return [phrase for phrases in spec.menu for phrase in phrases[:CARRIED_WAYS]]


def check_corrections(corrections: Dataset, dataset: Dataset) -> None:
    """Refuse corrections that cannot be trained on together with a data set.

    Raises:
        DatasetError: if they are none, or of another world, other phrases or another length.
    """
    remedy = "make them with streamdit-gym relabel, with the data set's --steps and today's menu"
    if not corrections.meta.get("astray"):
        raise DatasetError("these are no corrections", given=corrections.folder, remedy=remedy)
    for key in ("world", "steps", "phrases"):
        if corrections.meta[key] != dataset.meta[key]:
            raise DatasetError(
                "corrections of other data",
                given=f"another {key}",
                allowed=f"the {key} of {dataset.folder}",
                remedy=remedy,
            )


def held_out_shards(dataset: Dataset) -> int:
    """Return how many of the last shards are never trained on."""
    return min(HELD_OUT, max(1, len(dataset) // 10))


def embed_phrases(make_encoder: Callable[[], PromptEncoder], dataset: Dataset) -> PromptTable:
    """Embed the data set's phrases, once per data set."""
    path = dataset.folder / "phrases.safetensors"
    if not path.is_file():
        tokens, mask, pooled = make_encoder().encode(dataset.phrases)
        with saving(path) as part:
            save_file({"tokens": tokens.half(), "mask": mask, "pooled": pooled.half()}, str(part))
    try:
        saved = load_file(str(path))
    except SafetensorError as error:
        raise DatasetError(
            "embeddings cannot be read",
            given=f"{path}: {error}",
            remedy="delete the file; it is made anew",
        ) from error
    if set(saved) != {"tokens", "mask", "pooled"} or len(saved["tokens"]) != len(dataset.phrases):
        raise DatasetError(
            "embeddings of other phrases", given=path, remedy="delete the file; it is made anew"
        )
    return PromptTable(
        dataset.phrases, saved["tokens"].float(), saved["mask"], saved["pooled"].float()
    )


@torch.no_grad()
def film_strip(
    model: StreamDiT,
    codec: ConvCodec,
    table: PromptTable,
    held_out: LatentEpisodes,
    device: str,
    episodes: int = 3,
    steps: int = 64,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw held-out episodes, real above generated,
    every fourth frame of a rollout from one real frame.
    """
    steps = min(steps, held_out.latents.shape[1] - 1)
    episodes = min(episodes, len(held_out))
    training = model.training
    model.eval()
    engine = Engine(model, table.to(device, torch.float32), PARTITIONS["reactive"])
    picked = torch.arange(episodes) * (len(held_out) // episodes)
    real = held_out.latents[picked, : steps + 1].float().to(device)
    prompts = held_out.prompts[picked, : steps + 1]
    session = engine.start(
        real[:, :1], torch.zeros(episodes, 1, dtype=torch.long), Noise.seeded(range(episodes))
    )
    made = torch.cat(
        [real[:, :1], *(engine.tick(session, prompts[:, i]) for i in range(1, steps + 1))], 1
    )
    model.train(training)
    return pairs_of_rows(*(codec.decode(latents[:, ::4]).cpu().numpy() for latents in (real, made)))


def pairs_of_rows(
    real: UInt8[np.ndarray, "e f h w 3"], made: UInt8[np.ndarray, "e f h w 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay episodes out as film strips, real above generated, twice enlarged,
    with a gap between episodes.
    """
    strips = [
        np.concatenate(list(episode), axis=1)
        for pair in zip(real, made, strict=True)
        for episode in pair
    ]
    gap = np.full((4, strips[0].shape[1], 3), 128, np.uint8)
    rows = [
        part
        for i, strip in enumerate(strips)
        for part in ([gap, strip] if i and i % 2 == 0 else [strip])
    ]
    return np.concatenate(rows).repeat(2, 0).repeat(2, 1)
