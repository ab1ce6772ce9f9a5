"""One episode of a simulator, recorded step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.random_actions import HeldExploration
from streamdit_gym.data.rewards import task_rewards
from streamdit_gym.data.shard import Shard
from streamdit_gym.data.simulator_checks import (
    check_action,
    check_frame,
    check_outcome,
    check_phrase,
    check_scores,
    check_state,
)
from streamdit_gym.definition import (
    Explores,
    HasBaseFrame,
    HasOutcome,
    HasScores,
    HasState,
    NamesActions,
    Simulator,
    StepOutcome,
    WorldSpec,
)

CANONICAL_PHRASE_RATE = 0.5  # else any paraphrase of the action
NO_PROMPT = -1  # the actions of a box are their own prompts
NO_NUMBERS: Float[np.ndarray, " 0"] = np.zeros(0, dtype=np.float32)


@dataclass(kw_only=True)
class Episode:
    """An episode under way.

    It has one frame, state and row of scores more than actions, prompts and rewards, and frames as
    the base world draws them where the simulator has them.
    """

    frames: list[np.ndarray] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    base_frames: list[np.ndarray] = field(default_factory=list)
    terminated: bool = False


def all_phrases(spec: WorldSpec) -> list[str]:
    """Return every phrase that training data hold, each once: the actions', then all others."""
    if isinstance(spec.actions, SpokenBox):
        return list(dict.fromkeys([*spec.actions.clauses, *spec.also]))
    phrases = [phrase for phrases in spec.menu for phrase in phrases]
    return list(dict.fromkeys([*phrases, *spec.also]))


def explore(
    spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, episode: Episode, steps: int
) -> Episode:
    """Add steps of the exploration policy to an episode, and return it.

    The simulator's own policy explores if it has one; else random actions that are held for some
    frames. An episode that the simulator ends has fewer steps.

    Args:
        spec: the world.
        simulator: stands at the episode's last frame.
        rng: draws actions and phrases.
        episode: is changed.
        steps: how many to add.

    Raises:
        DefinitionError: if the simulator returns what the definition does not allow.
    """
    phrase_index = {phrase: index for index, phrase in enumerate(all_phrases(spec))}
    held = HeldExploration(spec.actions)
    for _ in range(steps):
        proposed = simulator.explore(rng) if isinstance(simulator, Explores) else held.next(rng)
        action = check_action(spec, proposed)
        episode.prompts.append(_prompt(spec, simulator, rng, action, phrase_index))
        episode.actions.append(action)
        add_frame(spec, episode, simulator, simulator.step(action))
        outcome = outcome_of(simulator)
        episode.rewards.append(outcome.reward)
        if outcome.terminated:
            episode.terminated = True
            break
    return episode


def _prompt(
    spec: WorldSpec,
    simulator: Simulator,
    rng: np.random.Generator,
    action: Any,
    phrase_index: dict[str, int],
) -> int:
    """Return the number of the phrase that is recorded with an action."""
    if not spec.menu:
        return NO_PROMPT
    paraphrases = spec.menu[action]
    if rng.random() < CANONICAL_PHRASE_RATE:
        phrase = paraphrases[0]
    else:
        phrase = paraphrases[int(rng.integers(len(paraphrases)))]
    if isinstance(simulator, NamesActions):
        phrase = check_phrase(phrase_index, simulator.prompt_for(action, phrase))
    return phrase_index[phrase]


def add_frame(spec: WorldSpec, episode: Episode, simulator: Simulator, frame: Any) -> None:
    """Add a simulator's newest frame, with its state and scores.

    Raises:
        DefinitionError: if the simulator returns what the definition does not allow.
    """
    episode.frames.append(check_frame(spec, frame))
    episode.states.append(check_state(spec, state_of(simulator)))
    episode.scores.append(check_scores(spec, scores_of(simulator)))
    # an episode that begins with generated frames has no base frames for those
    is_complete = len(episode.base_frames) == len(episode.frames) - 1
    if isinstance(simulator, HasBaseFrame) and is_complete:
        episode.base_frames.append(check_frame(spec, simulator.base_frame()))


def state_of(simulator: Simulator) -> Float[np.ndarray, " n"]:
    """Return a simulator's true state; no numbers if it tells none."""
    return simulator.state() if isinstance(simulator, HasState) else NO_NUMBERS


def scores_of(simulator: Simulator) -> Float[np.ndarray, " m"]:
    """Return the scores of a simulator's newest frame; none if it has none."""
    return simulator.scores() if isinstance(simulator, HasScores) else NO_NUMBERS


def outcome_of(simulator: Simulator) -> StepOutcome:
    """Return the reward and end of a simulator's last step; none if it has none of its own."""
    if not isinstance(simulator, HasOutcome):
        return StepOutcome(0.0, False)
    return check_outcome(simulator.outcome())


def stack_episodes(spec: WorldSpec, episodes: list[Episode], steps: int) -> Shard:
    """Return a shard of episodes.

    Args:
        spec: the world.
        episodes: of so many steps, or fewer where the simulator ended them; these are padded with
            copies of their last frame.
        steps: of the shard's arrays.
    """
    scores = np.stack([_padded(episode.scores, steps + 1) for episode in episodes])
    own_rewards = np.stack([_padded(episode.rewards, steps, 0.0) for episode in episodes])
    base_frames = None
    if episodes[0].base_frames:
        base_frames = np.stack([_padded(episode.base_frames, steps + 1) for episode in episodes])
    actions = [_padded(episode.actions, steps, spec.actions.idle) for episode in episodes]
    prompts = [_padded(episode.prompts, steps) for episode in episodes]
    return Shard(
        frames=np.stack([_padded(episode.frames, steps + 1) for episode in episodes]),
        actions=np.array(actions, dtype=spec.actions.dtype),
        prompts=np.array(prompts, dtype=np.int32),
        rewards=task_rewards(spec, scores[:, :-1], scores[:, 1:], own_rewards),
        states=np.stack([_padded(episode.states, steps + 1) for episode in episodes]),
        scores=scores,
        lengths=np.array([len(episode.actions) for episode in episodes], dtype=np.int32),
        terminated=np.array([episode.terminated for episode in episodes]),
        base_frames=base_frames,
    )


def _padded(items: list[Any], count: int, filler: Any = None) -> np.ndarray:
    """Return items stacked, with copies of the last one (or a filler) behind them."""
    if filler is None:
        filler = items[-1]
    return np.stack([*items, *[filler] * (count - len(items))])
