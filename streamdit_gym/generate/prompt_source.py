"""What a stream is told at every step: a policy's actions in words, or prompts from a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.actions import SpokenBox
from streamdit_gym.agents.features import observe
from streamdit_gym.agents.policies.policy import Actions, Policy
from streamdit_gym.envs.worlds import move_prompt_of
from streamdit_gym.presets import partition_for
from streamdit_gym.stream.meaning import Meanings
from streamdit_gym.world import World

PLAINEST_SHARE = 0.5  # of the prompts are the menu's first phrase, the others any phrase
NOTHING = np.zeros(0)  # the observation of a policy that looks at none


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Prompts for a batch of streams, and the action of each."""

    actions: Actions
    phrases: list[str]


class PromptSource(Protocol):
    """Gives prompts for a shard's streams, step by step."""

    def begin(self, episodes: list[int], rng: np.random.Generator) -> None:
        """Begin episodes with these numbers, one a stream."""

    @property
    def looks_at_frames(self) -> bool:
        """Whether `next` needs the newest latents."""

    def next(self, latents: Float[Tensor, "n 1 c g g"] | None) -> Prompts:
        """Return the next prompts; they may follow from the newest latents."""

    def phrases_of(self, episodes: list[int]) -> set[str]:
        """Return the phrases of some episodes that the world's menu may not have."""

    def menu_share(self, prompts: list[str]) -> float:
        """Return the share of prompts that are menu entries."""


class PolicyPrompts:
    """A policy's actions, in the menu's words, or in the nearest ones of a box.

    Args:
        policy: chooses actions.
        world: whose streams they are for.
    """

    def __init__(self, policy: Policy, world: World) -> None:
        self.policy = policy
        self.world = world
        embedded = set(world.table.phrases)
        self._phrases: list[list[str]] = []  # of every action
        for menu_phrases in world.spec.menu:
            phrases = [phrase for phrase in menu_phrases if phrase in embedded]
            self._phrases.append(phrases)

    def begin(self, episodes: list[int], rng: np.random.Generator) -> None:
        """Begin episodes, one a stream."""
        num_rows = len(episodes)
        self._rng = rng
        self._starts = np.ones(num_rows, dtype=bool)
        self.policy.reset(num_rows, self.world.spec.actions, rng)

    @property
    def looks_at_frames(self) -> bool:
        """Whether the policy observes anything."""
        return self.policy.observation is not None

    def next(self, latents: Float[Tensor, "n 1 c g g"] | None) -> Prompts:
        """Return the policy's actions and phrases for them."""
        observation = NOTHING
        kind = self.policy.observation
        if kind is not None:
            assert latents is not None
            observation = observe(self.world, latents, kind)
        actions = self.policy.act(observation, self._starts)
        self._starts = np.zeros_like(self._starts)
        return Prompts(actions=actions, phrases=self._worded(actions))

    def _worded(self, actions: Actions) -> list[str]:
        """Return a phrase for every action."""
        language = self.world.spec.actions
        if isinstance(language, SpokenBox):
            return [language.prompt(action) for action in actions]
        num_rows = len(actions)
        is_plainest = self._rng.random(num_rows) < PLAINEST_SHARE
        positions = self._rng.random(num_rows)
        phrases = []
        for action, plainest, position in zip(actions, is_plainest, positions, strict=True):
            choices = self._phrases[action]
            index = 0 if plainest else int(position * len(choices))
            phrases.append(choices[index])
        return phrases

    def phrases_of(self, episodes: list[int]) -> set[str]:
        """Return nothing: the world has all of its menu's phrases."""
        return set()

    def menu_share(self, prompts: list[str]) -> float:
        """Return 1: all prompts are menu entries."""
        return 1.0


class FilePrompts:
    """Prompts of a file, with the menu actions that they mean to the world.

    Args:
        episodes: the prompts of every episode; they begin anew where they end.
        world: whose streams they are for.

    Raises:
        MissingExtraError: if there are phrases to embed and no prompt encoder.
    """

    def __init__(self, episodes: list[list[str]], world: World) -> None:
        self.episodes = episodes
        self.world = world
        self.meanings = Meanings(
            world.model,
            world.starts.latents,
            world.spec.menu,
            partition_for(world, "reactive"),
        )
        self.move_prompt = move_prompt_of(world.spec.name)
        self._actions: dict[str, tuple[int, bool]] = {}
        embedded = set(world.table.phrases)
        for prompts in episodes:
            unknown = [phrase for phrase in prompts if phrase not in embedded]
            if unknown:
                world.table.rows(unknown[:1])  # loads the prompt encoder, or says it is missing
                break

    def begin(self, episodes: list[int], rng: np.random.Generator) -> None:
        """Begin episodes, one a stream."""
        self._running = [self._prompts_of(number) for number in episodes]
        self._step = 0

    @property
    def looks_at_frames(self) -> bool:
        """A file's prompts are known beforehand."""
        return False

    def next(self, latents: Float[Tensor, "n 1 c g g"] | None) -> Prompts:
        """Return the next prompts of the file, and their actions."""
        phrases = []
        actions = []
        for prompts in self._running:
            phrase = prompts[self._step % len(prompts)]
            action, _ = self._action_of(phrase)
            phrases.append(phrase)
            actions.append(action)
        self._step += 1
        return Prompts(actions=np.array(actions), phrases=phrases)

    def phrases_of(self, episodes: list[int]) -> set[str]:
        """Return the phrases of some episodes."""
        phrases: set[str] = set()
        for number in episodes:
            phrases.update(self._prompts_of(number))
        return phrases

    def menu_share(self, prompts: list[str]) -> float:
        """Return the share of prompts whose move is a menu entry."""
        num_entries = 0
        for prompt in prompts:
            _, is_entry = self._action_of(prompt)
            num_entries += is_entry
        return num_entries / len(prompts)

    def _prompts_of(self, number: int) -> list[str]:
        return self.episodes[number % len(self.episodes)]

    @torch.no_grad()
    def _action_of(self, prompt: str) -> tuple[int, bool]:
        """Return the menu action that a prompt means, and whether it is a menu entry.

        What is no entry is resolved by the frames that the world draws for it.
        """
        if prompt not in self._actions:
            move = self.move_prompt(prompt)
            entry = self.meanings.entry(move)
            if entry is None:
                self._actions[prompt] = self._inferred_action(move), False
            else:
                self._actions[prompt] = entry, True
        return self._actions[prompt]

    def _inferred_action(self, move: str) -> int:
        """Return the action whose frames are most like those of a text that is no menu entry."""
        plainest = [phrases[0] for phrases in self.world.spec.menu]
        # each text is embedded alone: batches differ in bits
        table = self.world.table.only(plainest, most=len(plainest) + 1)
        return self.meanings.action_of(move, table)


class SpokenFilePrompts:
    """Prompts of a file, with the values that they ask a world with continuous actions for.

    Args:
        episodes: the prompts of every episode; they begin anew where they end.
        world: whose streams they are for.
        box: its actions.

    Raises:
        MissingExtraError: if there are phrases to embed and no prompt encoder.
    """

    def __init__(self, episodes: list[list[str]], world: World, box: SpokenBox) -> None:
        self.episodes = episodes
        self._actions: dict[str, np.ndarray] = {}
        for text in dict.fromkeys(text for prompts in episodes for text in prompts):
            positions = world.prompts.of_texts([text])
            self._actions[text] = box.values(positions[0].cpu().numpy())

    def begin(self, episodes: list[int], rng: np.random.Generator) -> None:
        """Begin episodes, one a stream."""
        self._running = [self.episodes[number % len(self.episodes)] for number in episodes]
        self._step = 0

    @property
    def looks_at_frames(self) -> bool:
        """A file's prompts are known beforehand."""
        return False

    def next(self, latents: Float[Tensor, "n 1 c g g"] | None) -> Prompts:
        """Return the next prompts of the file, and their actions."""
        phrases = [prompts[self._step % len(prompts)] for prompts in self._running]
        self._step += 1
        return Prompts(actions=np.stack([self._actions[text] for text in phrases]), phrases=phrases)

    def phrases_of(self, episodes: list[int]) -> set[str]:
        """Return nothing: what a session holds are values."""
        return set()

    def menu_share(self, prompts: list[str]) -> float:
        """Return 1: every prompt is an action."""
        return 1.0


def prompts_of_file(episodes: list[list[str]], world: World) -> PromptSource:
    """Return the prompts of a file for a world's streams."""
    language = world.spec.actions
    if isinstance(language, SpokenBox):
        return SpokenFilePrompts(episodes, world, language)
    return FilePrompts(episodes, world)
