"""The environment's own reward and end of a generated world's steps."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.actions import Menu, action_numbers, num_action_numbers
from streamdit_gym.envs.backend import Latents
from streamdit_gym.errors import ArgumentError
from streamdit_gym.model.precision import precision
from streamdit_gym.text.prompt_protocol import PromptRow
from streamdit_gym.world import World


class TransitionReader:
    """Reads rewards and ends with a world's transition readout.

    Args:
        world: the world.

    Raises:
        ArgumentError: if it has no such readout.
    """

    def __init__(self, world: World) -> None:
        if world.transitions is None:
            raise ArgumentError(
                "this world cannot tell the environment's own reward",
                given=world.spec.name,
                allowed="a bundle with a readout of transitions, or another task",
                remedy="train the world again: its task needs the stage of transitions",
            )
        self._world = world
        self._readout = world.transitions
        self._menu_numbers = torch.zeros(0, 0)  # a row for every row of the prompt table

    @torch.no_grad()
    def read(
        self, before: Latents, after: Latents, prompts: PromptRow
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Return rewards, and probabilities of the end.

        Args:
            before: latents of the frames before.
            after: latents of the frames after them.
            prompts: which these are conditioned on.
        """
        actions = self._action_numbers(prompts)
        with precision(self._world.device, False):
            rewards, end_logits = self._readout(before, after, actions)
        return rewards, end_logits.sigmoid()

    def _action_numbers(self, prompts: PromptRow) -> Float[Tensor, "n a"]:
        """Return the actions that prompts ask for as numbers; zeros where they ask for none."""
        language = self._world.spec.actions
        if isinstance(language, Menu):
            return self._numbers_of_rows(language)[prompts]
        values = language.values(prompts.cpu().numpy())
        numbers = torch.from_numpy(action_numbers(language, values))
        return numbers.nan_to_num(0.0).to(self._world.device)

    def _numbers_of_rows(self, menu: Menu) -> Float[Tensor, "u a"]:
        """Return the numbers of every prompt of the table; zeros for texts outside the menu."""
        phrases = self._world.table.phrases
        if len(self._menu_numbers) < len(phrases):
            action_of = {
                phrase: action for action, named in enumerate(menu.phrases) for phrase in named
            }
            numbers = torch.zeros(len(phrases), num_action_numbers(menu))
            for row, phrase in enumerate(phrases):
                if phrase in action_of:
                    numbers[row] = torch.from_numpy(action_numbers(menu, action_of[phrase]))
            self._menu_numbers = numbers.to(self._world.device)
        return self._menu_numbers
