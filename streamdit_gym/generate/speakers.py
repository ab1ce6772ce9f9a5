"""Who decides what is said next in a stream: a random player, a script, an agent, or a file of
prompts.

Takes: the newest latents of some streams.  Gives: a phrase and a menu action for each.  Knows
    nothing of: files that are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from streamdit_gym.checks import check_prompt, shown
from streamdit_gym.errors import ArgumentError, StreamDiTError, UnknownNameError
from streamdit_gym.world import World

Act = Callable[
    [Float[Tensor, "n 1 c g g"]], Int[np.ndarray, " n"]
]  # newest latents to menu actions


def read_prompts(path: Path) -> list[list[str]]:
    """Read a file of prompts: each line is one episode, ``{"prompts": ["move left", "move up",
    ...]}``; it begins anew when it ends.

    Raises:
        StreamDiTError: if it cannot be read, with the line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StreamDiTError(
            "the prompts cannot be read",
            given=f"{path}: {error}",
            remedy="a text file of JSON lines",
        ) from error
    episodes = [
        _prompts_of(path, number, line) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not episodes:
        raise StreamDiTError(
            "no prompts in the file",
            given=path,
            allowed='lines of {"prompts": [...]}',
            remedy="write one line an episode",
        )
    return episodes


def _prompts_of(path: Path, number: int, line: str) -> list[str]:
    try:
        prompts = json.loads(line)["prompts"]
        if not isinstance(prompts, list) or not prompts:
            raise TypeError
        return [check_prompt(prompt) for prompt in prompts]
    except ArgumentError as error:
        place = f"{path}, line {number}: {error.given}"
        raise ArgumentError(
            error.problem, given=place, allowed=error.allowed, remedy="mend that line"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StreamDiTError(
            "a line of the prompts cannot be read",
            given=f"{path}, line {number}: {shown(line)}",
            allowed='{"prompts": ["move left", ...]}, one non-empty list of phrases a line',
            remedy="mend that line",
        ) from error


def hold_random(rng: np.random.Generator, rows: int, count: int) -> Act:
    """Return a random player that holds each action for 1 to 8 frames."""
    held, left = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)

    def act(_latents: Tensor) -> np.ndarray:
        nonlocal left
        over = left == 0
        held[over], left[over] = (
            rng.integers(count, size=over.sum()),
            rng.integers(1, 9, size=over.sum()),
        )
        left -= 1
        return held.copy()

    return act


def player_of(name: str, *, trust_agents: bool = False) -> Any:
    """Return a player by name: ``random``, ``scripted``, ``scripted:NOISE``, or an agent from its
    folder or checkpoint.

    Args:
        name: the name or path.
        trust_agents: also load an agent that is only there as ``agent.zip``, which is code.

    Raises:
        UnknownNameError: if there is none of that name.
        BundleError: if a path holds no agent.
    """
    from streamdit_gym.agents.match import find_player

    if name == "planner":
        raise UnknownNameError(
            "player",
            name,
            ["random", "scripted"],
            "the planner plays frames, not streams; use another player",
        )
    return find_player(name, trust_agents=trust_agents)


def act_of(player: Any, world: World, task: str, rng: np.random.Generator, rows: int) -> Act:
    """Return how a player of `player_of` acts in some streams of a world."""
    from streamdit_gym.agents.features import see
    from streamdit_gym.agents.policies import Learned
    from streamdit_gym.envs.worlds import scripted_policy_of

    count = len(world.spec.menu)
    if isinstance(player, Learned):
        seed = int(rng.integers(2**31))

        def agent(latents: Tensor) -> np.ndarray:
            nonlocal seed
            seed += 1
            torch.manual_seed(seed)  # a stochastic policy draws from torch's own generator,
            np.random.seed(seed)  # DQN from numpy's,
            player.agent.action_space.seed(seed)  # and from its space's
            action = player.agent.predict(see(world, latents, player.config.observation))[0]
            return action.argmax(-1) if action.ndim > 1 else action

        return agent
    if player == "random":
        return hold_random(rng, rows, count)
    noise, script = float(player.partition(":")[2] or 0), scripted_policy_of(world.spec.name)

    def scripted(latents: Tensor) -> np.ndarray:
        moves = script(world.readout(latents)[0][:, 0].cpu().numpy(), task)
        return np.where(rng.random(rows) < noise, rng.integers(count, size=rows), moves)

    return scripted
