"""One episode of a simulator, recorded step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamdit_gym.data.rewards import task_rewards
from streamdit_gym.data.shard import Shard
from streamdit_gym.data.simulator_checks import (
    check_action,
    check_frame,
    check_phrase,
    check_scores,
    check_state,
)
from streamdit_gym.definition import Simulator, WorldSpec

CANONICAL_PHRASE_RATE = 0.5  # else any paraphrase of the action


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode under way.

    It has one frame, state and row of scores more than actions and prompts, and frames as the base
    world draws them where the simulator has them.
    """

    frames: list[np.ndarray] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    base_frames: list[np.ndarray] = field(default_factory=list)


def all_phrases(spec: WorldSpec) -> list[str]:
    """Return every phrase that training data hold, each once: the menu's, then all others."""
    phrases = [phrase for phrases in spec.menu for phrase in phrases]
    return list(dict.fromkeys([*phrases, *spec.also]))


def explore(
    spec: WorldSpec, simulator: Simulator, rng: np.random.Generator, episode: Episode, steps: int
) -> Episode:
    """Add steps of the simulator's exploration policy to an episode, and return it.

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
    for _ in range(steps):
        action = check_action(spec, simulator.explore(rng))
        paraphrases = spec.menu[action]
        if rng.random() < CANONICAL_PHRASE_RATE:
            phrase = paraphrases[0]
        else:
            phrase = paraphrases[int(rng.integers(len(paraphrases)))]
        prompt = check_phrase(phrase_index, simulator.prompt_for(action, phrase))
        episode.actions.append(action)
        episode.prompts.append(phrase_index[prompt])
        add_frame(spec, episode, simulator, simulator.step(action))
    return episode


def add_frame(spec: WorldSpec, episode: Episode, simulator: Simulator, frame: Any) -> None:
    """Add a simulator's newest frame, with its state and scores.

    Raises:
        DefinitionError: if the simulator returns what the definition does not allow.
    """
    episode.frames.append(check_frame(spec, frame))
    episode.states.append(check_state(spec, simulator.state()))
    episode.scores.append(check_scores(spec, simulator.scores()))
    base_frame = simulator.plain_frame()
    # an episode that begins with generated frames has none for those
    is_complete = len(episode.base_frames) == len(episode.frames) - 1
    if base_frame is not None and is_complete:
        episode.base_frames.append(check_frame(spec, base_frame))


def stack_episodes(spec: WorldSpec, episodes: list[Episode]) -> Shard:
    """Return a shard of equally long episodes."""
    scores = np.stack([np.stack(episode.scores) for episode in episodes])
    base_frames = None
    if episodes[0].base_frames:
        base_frames = np.stack([np.stack(episode.base_frames) for episode in episodes])
    return Shard(
        frames=np.stack([np.stack(episode.frames) for episode in episodes]),
        actions=np.array([episode.actions for episode in episodes], dtype=np.int16),
        prompts=np.array([episode.prompts for episode in episodes], dtype=np.int32),
        rewards=task_rewards(spec, scores[:, :-1], scores[:, 1:]),
        states=np.stack([np.stack(episode.states) for episode in episodes]),
        scores=scores,
        base_frames=base_frames,
    )
