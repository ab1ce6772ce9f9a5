"""How close generated frames stay to the twin's, and whether they obey.

Takes: a world and held-out real episodes.  Gives: scores with their floors and ceilings.
Knows nothing of: simulators (episodes were recorded), agents.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from streamdit_gym.data.dataset import Shard
from streamdit_gym.evaluate.inverse_dynamics import InverseDynamics, named_right, train_inverse
from streamdit_gym.presets import partition as named_partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.train.train_world import pairs_of_rows
from streamdit_gym.world import World

HORIZONS = (1, 4, 8, 16, 32, 64)
MOVING_LEVEL = 8  # grey levels by which a pixel differs between the first and the present real frame to count as moving


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Scores at one horizon; PSNR in dB over the moving pixels, state errors are medians read by the world's own probe.

    Attributes:
        horizon: frames after the start.
        generated_db: generated against real.
        copy_db: the start frame against real (floor).
        codec_db: codec only against real (ceiling).
        pusher_px: error of the pusher's position, generated.
        block_px: error of the block's position, generated.
        block_degrees: error of the block's angle, generated.
    """

    horizon: int
    generated_db: float
    copy_db: float
    codec_db: float
    pusher_px: float
    block_px: float
    block_degrees: float


@torch.no_grad()
def roll_out(
    world: World, first: UInt8[Tensor, "e h w 3"], actions: Int[Tensor, "e s"], partition: str = "reactive", seed: int = 0
) -> Float[Tensor, "e g c h w"]:
    """Generate episodes from one real frame each and the menu's phrases; the first latent is the real one."""
    cut = named_partition(partition)
    table = world.table.rows([phrases[0] for phrases in world.spec.menu])
    engine = Engine(world.model, world.table, cut, idle=int(table[0]))
    latents = world.codec.encode(first[:, None].to(world.device))
    start = torch.full(latents.shape[:2], engine.idle)
    session = engine.start(latents, start, [torch.Generator().manual_seed(seed + i) for i in range(len(first))])
    spoken = table[actions.long()]
    return torch.cat([latents, *(engine.tick(session, spoken[:, i]) for i in range(actions.shape[1]))], 1)


def judge(
    world: World, held_out: Shard, training: list[Shard], *, partition: str = "reactive", inverse_steps: int = 1500
) -> dict[str, Any]:
    """Measure a world on held-out episodes.

    Args:
        world: the world.
        held_out: episodes never trained on.
        training: real episodes for the inverse-dynamics model.
        partition: how to stream.
        inverse_steps: training steps of that model.

    Returns:
        ``strip`` (four episodes, every fourth frame, real above generated), ``fidelity`` (one entry per horizon),
        ``readback_generated``, ``readback_real``, and what was measured on.
    """
    frames, actions = torch.from_numpy(held_out.frames), torch.from_numpy(held_out.actions)
    steps = min(max(HORIZONS), actions.shape[1])
    made = roll_out(world, frames[:, 0], actions[:, :steps], partition)
    real = encode(world, frames[:, : steps + 1])
    inverse = train_inverse(
        torch.cat([encode(world, torch.from_numpy(shard.frames)).half() for shard in training]),
        torch.cat([torch.from_numpy(shard.actions) for shard in training]), len(world.spec.menu), inverse_steps,
    )  # fmt: skip
    shown = world.codec.decode(made[:4, ::4]).cpu().numpy()
    return {
        "strip": pairs_of_rows(held_out.frames[:4, : steps + 1 : 4], shown),
        "partition": str(named_partition(partition)),
        "episodes": len(frames),
        "steps": steps,
        "fidelity": [asdict(fidelity(world, frames, made, real, held_out, h)) for h in HORIZONS if h <= steps],
        **readback(inverse, made, real, actions[:, :steps]),
    }


def readback(inverse: InverseDynamics, made: Tensor, real: Tensor, actions: Tensor) -> dict[str, Any]:
    """Return how often the inverse-dynamics model names the action: over the first steps of rollouts, and on real frames."""
    right = named_right(inverse, made, actions).float()
    return {
        "readback_generated": {str(h): right[:, : h - 1].mean().item() for h in HORIZONS if 8 <= h <= actions.shape[1]},
        "readback_real": named_right(inverse, real, actions).float().mean().item(),
    }


@torch.no_grad()
def encode(world: World, frames: UInt8[Tensor, "e g h w 3"]) -> Float[Tensor, "e g c h w"]:
    """Encode episodes one by one."""
    return torch.cat([world.codec.encode(episode[None].to(world.device)) for episode in frames])


@torch.no_grad()
def fidelity(world: World, frames: Tensor, made: Tensor, real: Tensor, shard: Shard, horizon: int) -> Fidelity:
    """Score one horizon; see `Fidelity`."""
    truth, first = frames[:, horizon].float(), frames[:, 0].float()
    moving = (truth - first).abs().amax(-1) > MOVING_LEVEL
    states, _ = world.heads(made[:, horizon : horizon + 1])
    error = state_error(states[:, 0].cpu(), torch.from_numpy(shard.states[:, horizon]))
    return Fidelity(
        horizon=horizon,
        generated_db=psnr_db(world.codec.decode(made[:, horizon : horizon + 1])[:, 0].cpu().float(), truth, moving),
        copy_db=psnr_db(first, truth, moving),
        codec_db=psnr_db(world.codec.decode(real[:, horizon : horizon + 1])[:, 0].cpu().float(), truth, moving),
        pusher_px=error[:, 0].median().item(), block_px=error[:, 1].median().item(), block_degrees=error[:, 2].median().item(),
    )  # fmt: skip


def state_error(found: Float[Tensor, "e 6"], truth: Float[Tensor, "e 6"]) -> Float[Tensor, "e 3"]:
    """Return distance of the pusher and of the block in px, and the angle between the blocks in degrees."""
    pusher = (found[:, :2] - truth[:, :2]).norm(dim=-1)
    block = (found[:, 2:4] - truth[:, 2:4]).norm(dim=-1)
    turn = torch.atan2(found[:, 5], found[:, 4]) - torch.atan2(truth[:, 5], truth[:, 4])
    return torch.stack([pusher, block, torch.rad2deg(torch.atan2(turn.sin(), turn.cos()).abs())], -1)


def psnr_db(found: Tensor, truth: Tensor, where: Tensor) -> float:
    """Return the PSNR over some pixels of frames in grey levels, pooled over episodes."""
    square = (found - truth).square()[where].mean()
    return float(10 * torch.log10(255**2 / square.clamp_min(1e-6)))
