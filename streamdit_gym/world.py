"""World: a trained bundle on disk, in the package or on the Hub.

A bundle is a folder: ``config.json`` with sizes and hashes of the other files,
``model.safetensors``, ``codec.safetensors``, ``heads.safetensors``, ``prompts.safetensors``,
``starts.safetensors``, and a model card; in some worlds also ``longer.safetensors`` and
``transitions.safetensors``. Nothing in it is code, and nothing else in the folder is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from streamdit_gym.actions import SpokenBox
from streamdit_gym.bundle.config import WEIGHTS as WEIGHTS
from streamdit_gym.bundle.config import BundleConfig, read_config
from streamdit_gym.bundle.field_checks import AGAIN
from streamdit_gym.bundle.fields import FORMAT
from streamdit_gym.bundle.files import (
    Layout,
    find_file,
    read_network,
    read_optional_network,
    read_tensors,
    write_bundle,
)
from streamdit_gym.bundle.hub import check_repository, upload_bundle
from streamdit_gym.bundle.networks import stored_config
from streamdit_gym.bundle.spec_fields import stored_spec
from streamdit_gym.bundle.stored_prompts import read_prompts
from streamdit_gym.checks import check_int
from streamdit_gym.definition import WorldSpec
from streamdit_gym.device import check_device
from streamdit_gym.errors import BundleError
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.model.precision import precision
from streamdit_gym.model.readout import Readout
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.transition_readout import TransitionReadout
from streamdit_gym.stream.clip import MICRO_STEPS, ClipSampler, PromptedFrames
from streamdit_gym.stream.clip_checks import first_frames, frame_prompts
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.text.prompt_protocol import Prompt, PromptRow, PromptSource
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.text.spoken_table import SpokenTable
from streamdit_gym.world_folders import SHIPPED as SHIPPED
from streamdit_gym.world_folders import bundles_beside
from streamdit_gym.world_folders import find_world as find_world
from streamdit_gym.world_folders import shipped_worlds as shipped_worlds

DECODED_AT_ONCE = 256  # frames of clips, which bounds the memory of the decoder
MAX_CLIP_SEED = 2**62  # far beyond any number of clips below the largest seed of noise


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Real first frames to start streams from.

    Attributes:
        latents: one encoded frame each.
        states: the simulator's true state in it.
    """

    latents: Float[Tensor, "n c h w"]
    states: Float[Tensor, "n s"]


@dataclass(frozen=True, kw_only=True)
class World:
    """A trained world.

    Attributes:
        spec: what the world is.
        model: the transformer.
        codec: the codec.
        readout: reads states, rewards and success off latents.
        table: the embedded prompts of a menu, or the clauses of a box; other text is embedded
            when first used.
        starts: real first frames.
        facts: training data, licence and measured scores, as written in ``config.json``.
        pipelined_model: another transformer, for buffers of several chunks (N > 1); None: `model`
            serves them, too.
        transitions: reads the environment's own reward and end off a transition; None: no task has
            these.
        digest: SHA-256 of what the bundle holds, wherever it lies: equal bundles have equal
            digests. Empty: not loaded from a bundle.
    """

    spec: WorldSpec
    model: StreamDiT
    codec: ConvCodec
    readout: Readout
    table: PromptTable
    starts: Starts
    facts: dict[str, Any]
    pipelined_model: StreamDiT | None = None
    transitions: TransitionReadout | None = None
    digest: str = ""

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str = "cpu",
        revision: str | None = None,
        digest: str | None = None,
    ) -> World:
        """Load a world by its name, folder or Hub id.

        Args:
            name: ``"PushT"``, a folder, a registered name, a Hub id; see `find_world`.
            device: where to put it.
            revision: branch, tag or commit of a Hub repository.
            digest: SHA-256 that it must have, checked before any weights are read; None: any.

        Raises:
            ArgumentError: if an argument is of the wrong type.
            UnknownNameError: if there is no such world, revision or device.
            BundleError: if a file is missing, cut, foreign, of a newer format, or says what cannot
                be, or the digest is another one; the text names the file and the field or tensor.
        """
        device = check_device(device)
        folder = find_world(name, revision, digest)
        config = read_config(folder)
        paths = _find_files(folder, config)
        model = read_network(paths["model.safetensors"], lambda: StreamDiT(config.model))
        codec = read_network(paths["codec.safetensors"], lambda: ConvCodec(config.codec))
        readout = read_network(paths["heads.safetensors"], lambda: Readout(config.heads))
        pipelined_model = read_optional_network(paths, "longer", config.longer, StreamDiT)
        transitions = read_optional_network(
            paths, "transitions", config.transitions, TransitionReadout
        )
        for convolutions in (codec, readout):
            convolutions.to(memory_format=torch.channels_last)  # decodes 10 to 20 % faster
        for network in filter(None, (model, codec, readout, pipelined_model, transitions)):
            network.to(device)
        table = read_prompts(paths["prompts.safetensors"], config)
        return cls(
            spec=config.spec,
            model=model,
            codec=codec,
            readout=readout,
            table=table.to(device, torch.float32),
            starts=_read_starts(paths["starts.safetensors"], config, device),
            facts=config.facts,
            pipelined_model=pipelined_model,
            transitions=transitions,
            digest=config.digest,
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the bundle, weights in half precision.

        A bundle that is there already becomes the new one in one move: if this is killed or the
        disk is full, the bundle is the old one or the new one, never a mixture. Other files stay.

        Raises:
            ArgumentError, BundleError: if such a world could not be loaded; nothing changes then.
            StorageError: if it cannot be written; the bundle that was there is whole.
            BusyError: if another process saves to the folder.
        """
        count = len(self.table.phrases)
        tensors = {
            "model": self.model.state_dict(),
            "codec": self.codec.state_dict(),
            "heads": self.readout.state_dict(),
            "prompts": {key: value[:count] for key, value in self.table.state_dict().items()},
            "starts": {"latents": self.starts.latents, "states": self.starts.states},
        }
        content = {
            "format": FORMAT,
            "spec": stored_spec(self.spec),
            "model": stored_config(self.model.config),
            "codec": stored_config(self.codec.config),
            "heads": stored_config(self.readout.config),
            "phrases": self.table.phrases,
            "facts": self.facts,
        }
        if self.pipelined_model is not None:
            tensors["longer"] = self.pipelined_model.state_dict()
            content["longer"] = stored_config(self.pipelined_model.config)
        if self.transitions is not None:
            tensors["transitions"] = self.transitions.state_dict()
            content["transitions"] = stored_config(self.transitions.config)
        write_bundle(Path(folder), tensors, content)

    def push_to_hub(self, repo_id: str, *, folder: str | Path, private: bool = False) -> str:
        """Save to a folder, upload the bundle to a Hub repository and return its address.

        Of the folder only the bundle's own files and its model card are uploaded. Others get the
        world by ``World.from_pretrained(repo_id, digest=...)``, with the digest of what is in the
        folder.

        Raises:
            ArgumentError: if `repo_id` is none, or the world could not be loaded again.
            MissingExtraError: if huggingface_hub is not installed.
            StorageError: if the folder or the Hub cannot be written to.
        """
        repository = check_repository(repo_id)
        self.save_pretrained(folder)
        digest = read_config(Path(folder)).digest
        return upload_bundle(
            Path(folder), repository, private, f"streamdit_gym bundle {digest[:12]}"
        )

    @torch.no_grad()
    def encode(self, frames: UInt8[Tensor, "b f h w 3"]) -> Float[Tensor, "b f c g g"]:
        """Return the latents of frames from any device, in full precision."""
        with precision(self.device, False):
            return self.codec.encode(frames.to(self.device))

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "b f c g g"], *, bfloat16: bool = False
    ) -> UInt8[Tensor, "b f h w 3"]:
        """Return the frames of latents, in full precision unless said otherwise."""
        with precision(self.device, bfloat16):
            return self.codec.decode(latents)

    @torch.no_grad()
    def draw_clip(
        self,
        prompts: Sequence[str] | Sequence[Sequence[str]],
        frames: int | None = None,
        *,
        seed: int = 0,
        init: UInt8[Tensor, "b k h w 3"] | None = None,
        micro_steps: int = MICRO_STEPS,
    ) -> UInt8[Tensor, "b f h w 3"]:
        """Draw clips at once, from noise and prompts; no stream is needed.

        How good they are depends on the recipe: a world draws what it has learned, see
        docs/worlds.md.

        Args:
            prompts: a text for each clip, or a text for each of its frames.
            frames: of each clip; None: 8, as recipes train on, or as many as it has prompts. Of
                more, each 8 go on from those before them.
            seed: clip i has the noise of ``seed + i``, however many there are.
            init: frames that the clips go on from, oldest first, at most as many as the model takes
                as references; they are not repeated in the result.
            micro_steps: evaluations of the model for each 8 frames.

        Raises:
            ArgumentError: if a prompt or a number cannot be used.
            ShapeError: if the first frames do not fit.
            PartitionError: if there are too many first frames or micro steps.
        """
        texts = frame_prompts(prompts, frames)
        check_int("seed", seed, least=0, most=MAX_CLIP_SEED)
        start = None
        if init is not None:
            start = self._prompted_start(first_frames(init, len(texts), self.spec.frame_size))
        flat = self.prompts.of_texts([text for of_clip in texts for text in of_clip])
        sampler = Sampler(
            self.model, self.prompts, Partition(references=0), autocast=False, compiled=False
        )
        latents = ClipSampler(sampler, micro_steps=micro_steps).draw(
            flat.unflatten(0, (len(texts), -1)),
            Noise.seeded(range(seed, seed + len(texts))),
            start,
        )
        pieces = latents.flatten(0, 1)[:, None].split(DECODED_AT_ONCE)
        decoded = torch.cat([self.decode(piece) for piece in pieces])
        return decoded[:, 0].unflatten(0, latents.shape[:2])

    def _prompted_start(self, frames: UInt8[Tensor, "b k h w 3"]) -> PromptedFrames:
        """Return the latents of first frames, with the idle prompt."""
        latents = self.encode(frames)
        shape = (*latents.shape[:2], *self.prompts.prompt_shape)
        return PromptedFrames(latents=latents, prompts=self.idle_prompt.expand(shape))

    @torch.no_grad()
    def read(
        self, latents: Float[Tensor, "b f c g g"]
    ) -> tuple[Float[Tensor, "b f s"], Float[Tensor, "b f m"]]:
        """Return the state and the scores of every frame, in full precision."""
        with precision(self.device, False):
            states, scores = self.readout(latents)
        return states, scores

    def model_for(self, partition: Partition) -> StreamDiT:
        """Return the transformer for a buffer of this partition."""
        if self.pipelined_model is not None and partition.chunks > 1:
            return self.pipelined_model
        return self.model

    @cached_property
    def prompts(self) -> PromptSource:
        """The embeddings of prompts: the table of texts, or the words of a box's dimensions."""
        actions = self.spec.actions
        return SpokenTable(actions, self.table) if isinstance(actions, SpokenBox) else self.table

    def action_prompts(self, actions: Any) -> PromptRow:
        """Return the prompts of actions, as sessions hold them.

        Args:
            actions: numbers of the menu (n,), or values of the box (n, d).
        """
        language = self.spec.actions
        if isinstance(language, SpokenBox):
            return torch.from_numpy(language.positions(np.asarray(actions)))
        return self.table.rows([language.prompt(action) for action in actions])

    @property
    def idle_prompt(self) -> Prompt:
        """The prompt of the idle action."""
        return self.action_prompts(self.spec.actions.idle[None])[0]

    @property
    def heads(self) -> Readout:
        """The old name of `readout`, for one release."""
        _warn_of_old_name("heads", "readout")
        return self.readout

    @property
    def longer(self) -> StreamDiT | None:
        """The old name of `pipelined_model`, for one release."""
        _warn_of_old_name("longer", "pipelined_model")
        return self.pipelined_model

    @property
    def device(self) -> torch.device:
        """Where the world's weights are."""
        return self.starts.latents.device


def _warn_of_old_name(old: str, new: str) -> None:
    text = f"World.{old} is now World.{new}; the old name goes with the next release"
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def _find_files(folder: Path, config: BundleConfig) -> dict[str, Path]:
    beside = bundles_beside(folder)
    return {name: find_file(folder, name, entry, beside) for name, entry in config.files.items()}


def _read_starts(path: Path, config: BundleConfig, device: str) -> Starts:
    layouts = {
        "latents": Layout((None, config.model.channels, *config.model.grid)),
        "states": Layout((None, len(config.spec.state_names))),
    }
    starts = read_tensors(path, layouts)
    latents = len(starts["latents"])
    states = len(starts["states"])
    if latents != states or latents == 0:
        given = f"{path}: {latents} latents, {states} states"
        raise BundleError(
            "start frames and their states do not fit each other",
            given=given,
            allowed="as many, at least one",
            remedy=AGAIN,
        )
    return Starts(latents=starts["latents"].to(device), states=starts["states"])
