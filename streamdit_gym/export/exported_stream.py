"""A stream of an exported world in onnxruntime: what the page does, in Python.

It checks an export, and shows whoever writes another runtime what to do with the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.errors import require
from streamdit_gym.export.world_arrays import ARRAYS, DESCRIPTION, read_arrays
from streamdit_gym.model.preconditioning import S_MIN

Latents = Float[np.ndarray, "f c h w"]
Draw = Callable[[int], Latents]


class ExportedStream:
    """One stream of an exported world.

    Args:
        folder: what the export has written.

    Attributes:
        description: what ``world.json`` says.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.description = json.loads((folder / DESCRIPTION).read_text())
        self._arrays = read_arrays(folder / ARRAYS, self.description["arrays"])
        self._prompt_graph = _session(folder / "prompt.onnx")
        self._step_graph = _session(folder / "step.onnx")
        self._decoder = _session(folder / "decoder.onnx")

    @property
    def starts(self) -> Latents:
        """First frames to start from."""
        return self._arrays["starts"]

    def start(
        self, latents: Float[np.ndarray, "c h w"], idle: Float[np.ndarray, " p"], draw: Draw
    ) -> None:
        """Start from one frame, which stands still for as long as the model looks back.

        Args:
            latents: the clean frame.
            idle: packed prompt of the frames that the buffer begins with.
            draw: returns the stream's next numbers of noise, for so many frames.
        """
        shape = self.description
        self._draw = draw
        count = shape["references"] + 1
        history = self._as_reference(np.repeat(latents[None], count, 0))
        no_prompt = self._arrays["no_prompt"]
        # the graph's own keys of the first references, none of which sees one that is not there
        self._cache = np.zeros(shape["cache"], np.float32)
        self._buffer = np.zeros((shape["frames"], *shape["latent"]), np.float32)
        self._buffer_prompts = [no_prompt] * shape["frames"]
        self._known = 0
        for newest in range(1, shape["references"]):
            self._references = history[newest - 1 : newest + 1]
            self._newest_prompt = no_prompt
            _, self._cache = self._step(0)
            self._known += 1
        self._references = history[-2:]
        self._buffer, self._buffer_prompts = self._buffer_at_rest(latents, idle)

    def tick(self, prompt: Float[np.ndarray, " p"]) -> Latents:
        """Move the stream by a frame under a packed prompt, and return the clean one (1 c h w)."""
        noise = self.description["temperature"] * self._draw(1)
        self._buffer = np.concatenate([self._buffer, noise]).astype(np.float32)
        self._buffer_prompts = [*self._buffer_prompts, prompt]
        for step in range(self.description["micro_steps"]):
            self._buffer, cache = self._step(step)
        clean = self._buffer[:1]
        self._buffer = self._buffer[1:]
        self._newest_prompt, *self._buffer_prompts = self._buffer_prompts
        self._cache = cache
        newest = self._as_reference(clean)
        self._references = np.concatenate([self._references[1:], newest])
        return clean

    def decode(self, latents: Latents) -> UInt8[np.ndarray, "f H W 3"]:
        """Return the frames of latents."""
        (frames,) = self._decoder.run(None, {"latents": latents})
        return frames

    def phrase(self, row: int) -> Float[np.ndarray, " p"]:
        """Return the packed prompt of a menu's phrase, by its place in ``actions.phrases``."""
        tokens, mask, pooled = (self._arrays[name][row] for name in ("tokens", "mask", "pooled"))
        return self._packed(tokens, mask, pooled)

    def values(self, action: Sequence[float]) -> Float[np.ndarray, " p"]:
        """Return the packed prompt of a box's values, one for each dimension."""
        tokens = np.zeros(
            (self.description["prompt_tokens"], self.description["text_width"]), np.float32
        )
        dimensions = self.description["actions"]["dimensions"]
        words = self._arrays["words"]
        first = 0
        for i, (dimension, value) in enumerate(zip(dimensions, action, strict=True)):
            last = len(dimension["words"]) - 1
            low = dimension["low"]
            high = dimension["high"]
            position = (min(max(value, low), high) - low) / (high - low) * last
            lower = min(int(position), last - 1)
            share = np.float32(position - lower)
            before = words[first + lower]
            tokens[i] = before + share * (words[first + lower + 1] - before)
            first += last + 1
        mask = np.zeros(len(tokens), np.float32)
        mask[: len(dimensions)] = 1
        return self._packed(tokens, mask, tokens[: len(dimensions)].mean(0))

    def _packed(self, tokens: Any, mask: Any, pooled: Any) -> Float[np.ndarray, " p"]:
        inputs = {"tokens": tokens, "mask": mask, "pooled": pooled}
        (prompt,) = self._prompt_graph.run(None, inputs)
        return prompt

    def _step(self, step: int) -> tuple[Latents, np.ndarray]:
        """Return the buffer after a micro step, and the cache of the next move."""
        inputs = {
            "buffer": self._buffer,
            "references": self._references,
            "prompts": np.stack([self._newest_prompt, *self._buffer_prompts]),
            "cache": self._cache,
            "known": np.array([self._known], np.float32),
        }
        if self.description["micro_steps"] > 1:
            inputs["step"] = np.array([step], np.int32)
        buffer, cache = self._step_graph.run(None, inputs)
        return buffer, cache

    def _buffer_at_rest(
        self, latents: Float[np.ndarray, "c h w"], idle: Float[np.ndarray, " p"]
    ) -> tuple[Latents, list[np.ndarray]]:
        """Return the frame as often as a buffer holds one at rest, each at its noise level."""
        times = np.array(self.description["slot_times"][:-1], np.float32)
        times = times[:, None, None, None]
        noise = np.zeros((0, *latents.shape), np.float32)
        if len(times):
            noise = self.description["temperature"] * self._draw(len(times))
        buffer = times * latents[None] + (1 - np.float32(1 - S_MIN) * times) * noise
        return buffer.astype(np.float32), [idle] * len(times)

    def _as_reference(self, clean: Latents) -> Latents:
        """Return clean frames at the noise level of references."""
        time = self.description["reference_time"]
        if time == 1:
            return clean
        noisy = time * clean + (1 - (1 - S_MIN) * time) * self._draw(len(clean))
        return noisy.astype(np.float32)


def _session(path: Path) -> Any:
    """Return a graph that runs in one thread: more wait for each other where others work."""
    ort = require("onnxruntime", "export", "an exported world")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
