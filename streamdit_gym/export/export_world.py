"""Exports a world: its networks as ONNX graphs, a description, and what checks them.

Takes: a world, a partition, a folder.  Gives: the folder, whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from streamdit_gym.actions import SpokenBox
from streamdit_gym.checks import check_prompt
from streamdit_gym.errors import ArgumentError, PartitionError, require
from streamdit_gym.export.agreement import check_agreement
from streamdit_gym.export.browser_runtime import copy_runtime
from streamdit_gym.export.graph_modules import DecoderGraph, EncoderGraph, PromptGraph, StepGraph
from streamdit_gym.export.onnx_file import write_graph
from streamdit_gym.export.packed_prompts import PackedPrompts
from streamdit_gym.export.world_arrays import (
    ARRAYS,
    DESCRIPTION,
    FORMAT,
    WorldArrays,
    chosen_starts,
    described_actions,
    prompt_arrays,
    prompt_tokens,
)
from streamdit_gym.files import replace_folder, write_json, writing_to
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise_levels import slot_starts
from streamdit_gym.stream.partition import Partition
from streamdit_gym.types import Conditioning
from streamdit_gym.world import World

Target = Literal["web", "onnx"]
MAX_OWN_PROMPTS = 64
SITE = Path(__file__).resolve().parent / "site"
RUNTIME = "runtime"  # folder of onnxruntime-web in a page's


@dataclass(frozen=True, kw_only=True)
class ExportedGraphs:
    """The graphs of a world for one partition.

    Attributes:
        world: the world.
        partition: how the buffer is cut.
        own_prompts: more phrases for a menu; they are in the world's table.
    """

    world: World
    partition: Partition
    own_prompts: tuple[str, ...] = ()

    @classmethod
    def of(cls, world: World, partition: str, own_prompts: Sequence[str] = ()) -> ExportedGraphs:
        """Return the graphs of a world; its own prompts are added to its table.

        Raises:
            PartitionError: if the world cannot stream so, or its model can use no cache.
            ArgumentError: if a world with continuous actions gets prompts of its own.
            MissingExtraError: if they are new, and no prompt encoder is installed.
        """
        if own_prompts and isinstance(world.spec.actions, SpokenBox):
            raise ArgumentError(
                "a world with continuous actions takes no prompts of its own",
                given=f"{len(own_prompts)} prompts",
                allowed="values of its dimensions",
                remedy="leave out prompts=",
            )
        world.table.rows(list(own_prompts))
        resolved = partition_for(world, partition)
        graphs = cls(world=world, partition=resolved, own_prompts=tuple(own_prompts))
        graphs.check()
        return graphs

    @property
    def model(self) -> Any:
        """The transformer that serves the partition."""
        return self.world.model_for(self.partition)

    def check(self) -> None:
        """Refuse worlds whose graphs would need more state than a cache of references."""
        engine = Engine(self.model, self.world.prompts, self.partition)
        is_long_enough = self.partition.references > 1
        if not engine.cached or self.partition.chunk_frames != 1 or not is_long_enough:
            config = self.model.config
            raise PartitionError(
                "this world cannot be exported",
                given=f"{self.partition}, window {config.window}, causal {config.causal}, "
                f"{config.references} references",
                allowed="a causal model with one window over a frame, and as many references",
                remedy="train it with one of the presets up to `base`",
            )

    def no_prompt(self) -> tuple[PackedPrompts, torch.Tensor]:
        """Return what packs the world's prompts, and the packed prompt that stands for none."""
        length = prompt_tokens(self.world)
        width = self.model.config.text_width
        nothing = Conditioning(
            tokens=torch.zeros(1, length, width),
            mask=torch.ones(1, length, dtype=torch.bool),
            pooled=torch.zeros(1, width),
            index=torch.zeros(1, 1, dtype=torch.long),
        )
        with torch.no_grad():
            prepared = self.model.prepare(nothing)
        packed = PackedPrompts.like(prepared)
        return packed, packed.pack(prepared)[0]

    def write(self, folder: Path, *, with_encoder: bool) -> dict[str, Any]:
        """Write graphs, arrays and description, and return the description."""
        packed, no_prompt = self.no_prompt()
        self._write_prompt_graph(folder, packed)
        self._write_step_graph(folder, packed, no_prompt)
        latents = self.world.starts.latents[:1]
        codec = self.world.codec
        write_graph(
            folder / "decoder.onnx",
            DecoderGraph(codec),
            {"latents": latents},
            ["frames"],
            any_frames=True,
        )
        graphs = ["prompt.onnx", "step.onnx", "decoder.onnx"]
        if with_encoder:
            frames = torch.zeros(1, *codec.frame_size, 3, dtype=torch.uint8)
            encoder = EncoderGraph(codec)
            write_graph(
                folder / "encoder.onnx", encoder, {"frames": frames}, ["latents"], any_frames=True
            )
            graphs.append("encoder.onnx")
        arrays = WorldArrays()
        arrays.add("starts", chosen_starts(self.world))
        arrays.add("no_prompt", no_prompt)
        for name, values in prompt_arrays(self.world).items():
            arrays.add(name, values)
        arrays.write(folder / ARRAYS)
        description = self._description(graphs, arrays, packed)
        write_json(folder / DESCRIPTION, description)
        return description

    def _write_prompt_graph(self, folder: Path, packed: PackedPrompts) -> None:
        length = prompt_tokens(self.world)
        width = self.model.config.text_width
        inputs = {
            "tokens": torch.zeros(length, width),
            "mask": torch.ones(length),
            "pooled": torch.zeros(width),
        }
        write_graph(folder / "prompt.onnx", PromptGraph(self.model, packed), inputs, ["prompt"])

    def _write_step_graph(
        self, folder: Path, packed: PackedPrompts, no_prompt: torch.Tensor
    ) -> None:
        frames = self.partition.frames
        latent = tuple(self.world.starts.latents.shape[1:])
        inputs = {
            "buffer": torch.zeros(frames, *latent),
            "references": torch.zeros(2, *latent),
            "prompts": no_prompt.expand(1 + frames, -1).contiguous(),
            "cache": torch.zeros(self.cache_shape),
            "known": torch.ones(1),
        }
        if self.partition.micro_steps > 1:
            inputs["step"] = torch.zeros(1, dtype=torch.int32)
        graph = StepGraph(self.model, self.partition, packed, no_prompt)
        write_graph(folder / "step.onnx", graph, inputs, ["next_buffer", "next_cache"])

    @property
    def cache_shape(self) -> tuple[int, ...]:
        """Layers; keys and values; references before the newest one; tokens; heads; width."""
        config = self.model.config
        references = self.partition.references - 1
        return (config.depth, 2, references, config.num_tokens, config.heads, config.head_width)

    def _description(
        self, graphs: list[str], arrays: WorldArrays, packed: PackedPrompts
    ) -> dict[str, Any]:
        spec = self.world.spec
        config = self.model.config
        partition = self.partition
        return {
            "format": FORMAT,
            "world": spec.name,
            "digest": self.world.digest,
            "license": self.world.facts.get("license", ""),
            "frame_size": list(spec.frame_size),
            "fps": spec.fps,
            "latent": [config.channels, *config.grid],
            "references": partition.references,
            "frames": partition.frames,
            "micro_steps": partition.micro_steps,
            "slot_times": slot_starts(partition).tolist(),
            "reference_time": config.reference_time,
            "temperature": config.temperature,
            "cache": list(self.cache_shape),
            "prompt_numbers": packed.width,
            "prompt_tokens": prompt_tokens(self.world),
            "text_width": config.text_width,
            "graphs": graphs,
            "arrays": arrays.places(),
            "actions": described_actions(self.world, list(self.own_prompts)),
        }


def check_out(folder: Path) -> None:
    """Refuse a place that holds something already.

    Raises:
        ArgumentError: if it is a file, or a folder with something in it.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise ArgumentError(
            "there is something at --out already",
            given=folder,
            allowed="an empty folder, or none",
            remedy="give another --out, or remove it",
        )


def read_phrases(path: Path) -> list[str]:
    """Return the prompts of a text file, one a line.

    Raises:
        ArgumentError: if it cannot be read, a line is no prompt, or there are too many.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(
            "the prompts cannot be read",
            given=f"{path}: {error}",
            allowed="a text file, one prompt a line",
            remedy="correct prompts=",
        ) from error
    phrases = list(dict.fromkeys(check_prompt(line) for line in lines if line.strip()))
    if len(phrases) > MAX_OWN_PROMPTS:
        raise ArgumentError(
            "too many prompts of your own",
            given=f"{len(phrases)} in {path}",
            allowed=f"{MAX_OWN_PROMPTS}: each has a button",
            remedy="choose the best",
        )
    return phrases


def export_world(
    world: World,
    out: Path,
    *,
    to: Target,
    partition: str = "reactive",
    prompts: Sequence[str] = (),
    runtime: Path | None = None,
) -> int:
    """Export a world, compare it with the engine, and return how many grey levels they are apart.

    Args:
        world: the world, on the CPU.
        out: a folder that is empty or not there; after an error it is as it was.
        to: ``"web"``: a page that any static server can serve; ``"onnx"``: the networks, with the
            encoder, and their description.
        partition: ``"reactive"`` or ``"pipelined"``.
        prompts: phrases of your own, beside those of a menu's bundle; each gets a button.
        runtime: see `copy_runtime`.

    Raises:
        ArgumentError: if there is something at `out`, `runtime` is no runtime, or the world takes
            no prompts of its own.
        PartitionError: if the world cannot be exported.
        DownloadError: if the page's runtime cannot be downloaded.
        AgreementError: if the export draws other frames than the engine.
        MissingExtraError: if onnx or onnxruntime are not installed.
        StorageError: if it cannot be written.
    """
    out = out.resolve()
    check_out(out)
    require("onnx", "export", "an export")
    require("onnxruntime", "export", "an export")
    graphs = ExportedGraphs.of(world, partition, prompts)
    with writing_to(out, "make room or give another --out, and call again"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(out) as folder:
            if to == "web":  # before the work: it may need a download
                copy_runtime(folder / RUNTIME, runtime)
                for page_file in sorted(SITE.iterdir()):
                    shutil.copyfile(page_file, folder / page_file.name)
            graphs.write(folder, with_encoder=to == "onnx")
            return check_agreement(folder, world, graphs.partition)
