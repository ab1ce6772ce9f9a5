"""What a training of an open model will take, from sizes: memory, operations, hours."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from streamdit_gym.open_training.open_settings import OpenTraining
from streamdit_gym.open_training.trained_weights import TARGETS
from streamdit_gym.open_weights.load_open_model import TEXT_TOKENS
from streamdit_gym.open_weights.wan_folder import BYTES, GIB, WanFolder, num_weights
from streamdit_gym.stream.partition import Partition

# Bytes of a weight that learns: itself, its gradient and AdamW's two averages in float32, and the
# average of the weights
LEARNING_BYTES = 4 * 5
# Bytes that autograd keeps of a token in a block, for every number of its width and of the
# feed-forward layer's: counted with saved_tensors_hooks; 85 to 120, since norms are in float32
WIDTH_BYTES = 110
FEED_FORWARD_BYTES = 8
TIME_BYTES = 28  # of a token's noise level, once for all blocks: seven vectors in float32
EFFICIENCY = 0.4  # of a device's matrix products that training reaches; usual for video models
H100_FLOPS = 700e12  # of matrix products in bfloat16, as they are measured
TRIAL_SIDES = {"cuda": 8192, "cpu": 1024}
TRIALS = 5
TERA = 1e12


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """What a training takes, on each of its devices.

    Attributes:
        memory_bytes: at the peak.
        step_flop: operations of a step, of all processes together.
        steps: of the training.
        device_flops: operations a second of a device's matrix products, measured.
        processes: that share a step.
        tokens: of the longest clip.
        learning: weights that learn.
    """

    memory_bytes: float
    step_flop: float
    steps: int
    device_flops: float
    processes: int
    tokens: int
    learning: int

    @property
    def hours(self) -> float:
        """Hours on this machine."""
        each = self.step_flop / self.processes / (EFFICIENCY * self.device_flops)
        return self.steps * each / 3600

    def lines(self, device: str) -> list[str]:
        """Return the estimate for people, and how it was made."""
        total = self.steps * self.step_flop
        on_h100 = total / (EFFICIENCY * H100_FLOPS) / 3600
        return [
            f"{self.learning:,} weights learn; {self.tokens:,} tokens a clip;"
            f" about {self.memory_bytes / GIB:.1f} GiB on {device}",
            "  (weights, gradients, optimizer and average; with activation checkpointing the input"
            " of every block, and one block's activations)",
            f"about {self.hours * self.processes:.1f} {device.split(':')[0].upper()} hours for"
            f" {self.steps:,} steps; on H100s about {on_h100:.1f} GPU hours",
            f"  ({self.step_flop / TERA:.3g} TFLOP a step, from sizes, at {EFFICIENCY:.0%} of the"
            f" {self.device_flops / TERA:.3g} TFLOP/s that this device multiplies matrices with;"
            f" of an H100 {H100_FLOPS / TERA:.0f})",
        ]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a transformer and its clips.

    Attributes:
        depth: blocks.
        width: of a token.
        feed_forward: width of the layer between two of a block.
        frame_tokens: tokens of a latent.
        weights: of the transformer.
    """

    depth: int
    width: int
    feed_forward: int
    frame_tokens: int
    weights: int

    @classmethod
    def of(cls, folder: WanFolder, frame_size: tuple[int, int]) -> Sizes:
        """Return the sizes of a model for frames of a height and width."""
        config = folder.configs["transformer"]
        _, rows, columns = config.get("patch_size", (1, 2, 2))
        height, width = frame_size
        return cls(
            depth=config["num_layers"],
            width=config["num_attention_heads"] * config["attention_head_dim"],
            feed_forward=config["ffn_dim"],
            frame_tokens=(height // folder.stride // rows) * (width // folder.stride // columns),
            weights=num_weights(folder, "transformer"),
        )

    def adapter_weights(self, rank: int) -> int:
        """Return how many weights an adapter of a rank has."""
        attention = 2 * (len(TARGETS) - 2) * 2 * self.width
        feed_forward = 2 * (self.width + self.feed_forward)
        return self.depth * rank * (attention + feed_forward)

    def forward_flop(self, latents: int) -> tuple[float, float]:
        """Return the operations of one evaluation of a clip: of layers, and of attention.

        A sentence for every frame is counted, which is the most.
        """
        tokens = latents * self.frame_tokens
        token_weights = 6 * self.width**2 + 2 * self.width * self.feed_forward
        sentence_weights = 2 * self.width**2
        layers = 2 * tokens * token_weights + 2 * latents * TEXT_TOKENS * sentence_weights
        attention = 4 * tokens * (tokens + TEXT_TOKENS) * self.width
        return self.depth * layers, self.depth * attention

    def activation_bytes(self, latents: int, bytes_each: int) -> float:
        """Return the memory of a clip's activations, with every block checkpointed."""
        tokens = latents * self.frame_tokens
        kept = self.depth * bytes_each + WIDTH_BYTES + TIME_BYTES
        return tokens * (self.width * kept + FEED_FORWARD_BYTES * self.feed_forward)


def training_cost(
    folder: WanFolder,
    settings: OpenTraining,
    partitions: tuple[tuple[Partition, float], ...],
    *,
    device: str,
    processes: int,
    teacher_evaluations: int = 0,
) -> TrainingCost:
    """Return what a training takes.

    Args:
        folder: of the model.
        settings: of the training.
        partitions: that are trained, with their shares.
        device: of a process.
        processes: that train together.
        teacher_evaluations: without gradient, in every step of a distillation.
    """
    sizes = Sizes.of(folder, settings.frame_size)
    is_full = settings.weights == "full"
    learning = sizes.weights if is_full else sizes.adapter_weights(settings.rank)
    bytes_each = BYTES[settings.precision(device)]
    longest = max(partition.references + partition.frames for partition, _ in partitions)
    frozen = 0 if is_full and not teacher_evaluations else sizes.weights * bytes_each
    # forward, forward again where activations were not kept, and backward: once for the inputs,
    # once more for the weights
    layer_passes = 2 + (2 if is_full else 1) + teacher_evaluations
    attention_passes = 2 + 2.5 + teacher_evaluations
    step_flop = 0.0
    for partition, share in partitions:
        layers, attention = sizes.forward_flop(partition.references + partition.frames)
        step_flop += share * (layer_passes * layers + attention_passes * attention)
    activations = settings.clips_at_once * sizes.activation_bytes(longest, bytes_each)
    return TrainingCost(
        memory_bytes=(frozen + learning * LEARNING_BYTES) / processes + activations,
        step_flop=settings.clips * step_flop,
        steps=settings.steps,
        device_flops=matrix_flops(device, settings.precision(device)),
        processes=processes,
        tokens=longest * sizes.frame_tokens,
        learning=learning,
    )


def matrix_flops(device: str, dtype: str) -> float:
    """Return the operations a second of a device's matrix products: its best of some trials."""
    kind = torch.device(device).type
    side = TRIAL_SIDES[kind]
    matrix = torch.ones(side, side, device=device, dtype=getattr(torch, dtype))
    best = float("inf")
    for _ in range(TRIALS):
        start = time.perf_counter()
        matrix @ matrix
        if kind == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
