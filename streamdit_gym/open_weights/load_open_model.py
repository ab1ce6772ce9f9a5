"""Loading an open model with all that it needs to stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.checks import check_choice, check_fields, check_int, check_real
from streamdit_gym.device import check_device, default_device
from streamdit_gym.errors import ArgumentError, ShapeError
from streamdit_gym.open_weights.open_prompts import OpenPrompts, too_long
from streamdit_gym.open_weights.open_streams import OpenModel
from streamdit_gym.open_weights.wan_backbone import SKYREELS, WAN, WanBackbone
from streamdit_gym.open_weights.wan_codec import WanCodec
from streamdit_gym.open_weights.wan_folder import (
    BYTES,
    GIB,
    WanFolder,
    find_wan_folder,
    needs_of,
)
from streamdit_gym.open_weights.wan_parts import load_parts, load_tokenizer
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world_folders import OPEN_MODEL_PREFIX

MAX_SIDE = 8192
MAX_STREAMS = 65_536
TEXT_TOKENS = 512  # Wan's transformers learned sentences with zeros behind them up to here
NEGATIVE_PROMPT = "blurred, still picture, worst quality, subtitles, distorted, extra fingers"
# SkyReels-V2-DF was trained with noise on clean frames, and says so in their times
NOISY_REFERENCES = 0.98
FPS = {SKYREELS: 24.0, WAN: 16.0}  # of the videos that they were trained on
GUIDANCE = 6.0
DEFAULTS = {SKYREELS: ("K5N8c2s1", 8.0), WAN: ("K5N1c4s8", 3.0)}


@dataclass(frozen=True, kw_only=True)
class OpenSettings:
    """How an open model streams.

    Attributes:
        frame_size: height and width of frames.
        partition: how the buffer is cut; None: as the model's kind was trained: a staircase of
            noise for SkyReels-V2-DF, chunk by chunk for the others.
        guidance: weight of the prompt; 1 for distilled models such as Self-Forcing; None: 6, or
            what a trained model's record says.
        time_shift: of the noise levels; None: 8 for SkyReels-V2-DF, 3 for the others, or what a
            trained model's record says.
        clip_steps: evaluations for the clip that a stream begins with.
        idle: the sentence of streams that nobody has prompted yet.
        negative_prompt: what guidance leads away from.
        dtype: of weights and activations.
        device: where; None: a GPU if there is one.
        streams: how many streams at once it shall have room for.
        adapter: folder of an adapter that was trained on this model.

    Raises:
        ArgumentError: if one is out of range.
    """

    frame_size: tuple[int, int] = (480, 832)
    partition: str | None = None
    guidance: float | None = None
    time_shift: float | None = None
    clip_steps: int = 30
    idle: str = "a calm landscape"
    negative_prompt: str = NEGATIVE_PROMPT
    dtype: str = "bfloat16"
    device: str | None = None
    streams: int = 1
    adapter: str | None = None

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, tuple(BYTES))
        check_fields(
            self,
            ints={"clip_steps": (1, 1000), "streams": (1, MAX_STREAMS)},
            reals={"guidance": (0, 100)},
        )
        for side in self.frame_size:
            check_int("a side of frame_size", side, least=1, most=MAX_SIDE)
        if self.time_shift is not None:
            check_real("time_shift", self.time_shift, above=0, most=100)


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How a model streams, with nothing left open; see `OpenSettings`."""

    partition: Partition
    guidance: float
    time_shift: float


def load_open_model(
    name: str, settings: OpenSettings | None = None, prompts: Sequence[str] = ()
) -> OpenModel:
    """Load an open model: Wan 2.1, SkyReels-V2-DF, or Self-Forcing converted to diffusers.

    Args:
        name: a folder in diffusers' layout or a Hub id, with or without ``wan:`` before it; or an
            adapter's folder.
        settings: how it streams.
        prompts: sentences that it will take: none that is too long is found out only later.

    Raises:
        BundleError: if there is no such model; see `check_wan_folder`.
        MissingExtraError: if a package is missing.
        ShapeError: if frames are no whole tokens wide and high.
        ArgumentError: if the device has too little memory, or a sentence is longer than the model
            takes; nothing is loaded then.
    """
    settings = settings or OpenSettings()
    folder = _folder_of(name, settings)
    streaming = streaming_of(folder, settings)
    grid = latent_grid(folder, settings.frame_size)
    device = default_device() if settings.device is None else check_device(settings.device)
    partition = streaming.partition
    _check_memory(folder, settings, partition, device)
    check_lengths(folder, [settings.idle, settings.negative_prompt, *prompts])
    parts = load_parts(folder, device, settings.dtype)
    encode = text_encoder(parts["text_encoder"], parts["tokenizer"])
    table = OpenPrompts(encode, TEXT_TOKENS, settings.idle)
    negative = table.of_texts([settings.negative_prompt])[:, None]
    no_prompt = table.conditioning(negative).tokens[0]
    backbone = WanBackbone(
        parts["transformer"],
        no_prompt.to(device),
        grid=grid,
        references=max(1, partition.references),  # a picture is one, whatever the partition
        guidance=streaming.guidance,
        time_shift=streaming.time_shift,
        reference_time=reference_time(folder),
        micro_steps=partition.micro_steps,
    )
    return OpenModel(
        backbone=backbone.eval(),
        codec=WanCodec(parts["vae"]),
        prompts=table,
        partition=partition,
        clip_steps=settings.clip_steps,
        fps=frame_rate(folder),
        name=Path(name.removeprefix(OPEN_MODEL_PREFIX)).name,
    )


def _folder_of(name: str, settings: OpenSettings) -> WanFolder:
    folder = find_wan_folder(name)
    if settings.adapter is None:
        return folder
    return folder.with_adapter(Path(settings.adapter))


def streaming_of(folder: WanFolder, settings: OpenSettings | None = None) -> Streaming:
    """Return how a model streams: what settings leave open is as it was trained."""
    settings = settings or OpenSettings()
    record = folder.record
    partition, shift = DEFAULTS[folder.kinds["transformer"]]
    guidance = GUIDANCE
    if record is not None:
        partition = record.partition
        shift = record.time_shift
        guidance = record.guidance
    return Streaming(
        partition=Partition.parse(settings.partition or partition),
        guidance=guidance if settings.guidance is None else settings.guidance,
        time_shift=shift if settings.time_shift is None else settings.time_shift,
    )


def reference_time(folder: WanFolder) -> float:
    """Return the noise level of references that a model was trained with."""
    return NOISY_REFERENCES if folder.kinds["transformer"] == SKYREELS else 1.0


def frame_rate(folder: WanFolder) -> float:
    """Return the frames a second of the videos that a model was trained on."""
    return FPS[folder.kinds["transformer"]] if folder.record is None else folder.record.fps


def text_encoder(encoder: Any, tokenizer: Any) -> Callable[[Sequence[str]], list[Tensor]]:
    """Return a function from sentences to embeddings of their tokens, where the encoder is."""
    device = next(encoder.parameters()).device

    @torch.no_grad()
    def encode(texts: Sequence[str]) -> list[Float[Tensor, "l e"]]:
        words = [" ".join(text.split()) for text in texts]
        tokens = tokenizer(words, padding=True, return_tensors="pt")
        mask = tokens.attention_mask.to(device)
        hidden = encoder(tokens.input_ids.to(device), mask).last_hidden_state.float()
        lengths = tokens.attention_mask.sum(1).tolist()
        return [row[:length] for row, length in zip(hidden, lengths, strict=True)]

    return encode


def latent_grid(folder: WanFolder, frame_size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the latents of frames.

    Raises:
        ShapeError: if whole tokens do not cover the frames.
    """
    _, rows, columns = folder.configs["transformer"].get("patch_size", (1, 2, 2))
    height, width = frame_size
    if height % (folder.stride * rows) or width % (folder.stride * columns):
        raise ShapeError(
            "frames are no whole tokens high and wide",
            given=f"{height} x {width}",
            allowed=f"multiples of {folder.stride * rows} x {folder.stride * columns}",
            remedy="frame_size=(480, 832)",
        )
    return height // folder.stride, width // folder.stride


def check_lengths(folder: WanFolder, texts: Sequence[str]) -> None:
    """Refuse sentences that are too long, with the tokenizer alone.

    Raises:
        ArgumentError: for the first of them.
    """
    tokenizer = load_tokenizer(folder)
    for text in texts:
        count = len(tokenizer(" ".join(text.split())).input_ids)
        if count > TEXT_TOKENS:
            raise too_long(text, f"{count} tokens", f"{TEXT_TOKENS} tokens")


def _check_memory(
    folder: WanFolder, settings: OpenSettings, partition: Partition, device: str
) -> None:
    """Refuse a model for which there is no room."""
    latents = partition.references + partition.frames
    needs = needs_of(folder, settings.frame_size, latents, settings.dtype, settings.streams)
    free = free_memory(device)
    host_free = free_memory("cpu")
    if not needs.fit(device, free, host_free):
        raise ArgumentError(
            "this model needs more memory than there is",
            given=f"{free / GIB:.1f} GiB free on {device}, {host_free / GIB:.1f} GiB for the CPU",
            allowed=f"about {needs.device_bytes / GIB:.1f} GiB for {settings.streams} streams of"
            f" {needs.tokens} tokens,"
            f" and {needs.host_bytes / GIB:.1f} GiB for the text encoder on the CPU",
            remedy="take smaller frames, fewer streams, a shorter buffer, dtype='bfloat16' or a"
            " smaller model",
        )


def free_memory(device: str) -> int:
    """Return the bytes that are free on a device; of the CPU those that the system could give."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    info = Path("/proc/meminfo")
    if not info.is_file():
        return 2**63 - 1
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])
