"""Which menu action a text means to a world."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text.prompt_table import PromptTable

# A text means the action whose frames are most like its own: from so many starts, over so many
# frames.
NUM_STARTS = 4
NUM_FRAMES = 2
MAX_REMEMBERED = 4096  # texts, beside the menu


def normalized(text: str) -> str:
    """Return a phrase in small letters, with single spaces and without a full stop at its end."""
    words = text.lower().split()
    phrase = " ".join(words).removesuffix(".")
    return phrase.rstrip()


class Meanings:
    """Finds the menu action that a text means, and remembers it.

    Args:
        model: the transformer.
        starts: clean latents of some real frames.
        menu: for every action its phrases, the plainest first.
        partition: how to stream; one whose next frame obeys.
        autocast: run the model in bfloat16.
    """

    def __init__(
        self,
        model: StreamDiT,
        starts: Float[Tensor, "n c h w"],
        menu: Sequence[Sequence[str]],
        partition: Partition,
        *,
        autocast: bool = False,
    ) -> None:
        self._model = model
        self._starts = starts[:NUM_STARTS, None]
        self._menu = menu
        self._partition = partition
        self._autocast = autocast
        self._entries: dict[str, int] = {}
        for action, phrases in enumerate(menu):
            for phrase in phrases:
                self._entries.setdefault(normalized(phrase), action)
        self._examples: list[Tensor] = []
        self._remembered: dict[str, int] = {}

    def entry(self, text: str) -> int | None:
        """Return the action that a text names in the menu's words; None if it is no menu entry."""
        return self._entries.get(normalized(text))

    def action_of(self, text: str, table: PromptTable) -> int:
        """Return the action that a text means.

        It is the menu's own, or the one whose frames are most like the text's.

        Args:
            text: any prompt.
            table: embeds it; it may be added to the table.

        Raises:
            ShapeError: if the text is new and the table is full.
            MissingExtraError: if the text is new and no prompt encoder is installed.
        """
        known = self.entry(text)
        if known is not None:
            return known
        if text not in self._remembered:
            action = self._nearest_action(text, table)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = action
        return self._remembered[text]

    def _nearest_action(self, text: str, table: PromptTable) -> int:
        frames = self._frames(text, table)
        if not self._examples:
            plainest = [phrases[0] for phrases in self._menu]
            self._examples = [self._frames(phrase, table) for phrase in plainest]
        errors = []
        for example in self._examples:
            difference = example - frames
            errors.append(difference.square().mean())
        return int(torch.stack(errors).argmin())

    @torch.no_grad()
    def _frames(self, text: str, table: PromptTable) -> Float[Tensor, "n f c h w"]:
        """Return the frames that follow the starts under a text, with the same noise for all."""
        count = len(self._starts)
        engine = Engine(
            self._model,
            table.only([text]),
            self._partition,
            autocast=self._autocast,
        )
        no_prompts = torch.full((count, 1), -1)
        noise = Noise.seeded(range(count))
        session = engine.start(self._starts, no_prompts, noise)
        row = torch.zeros(count, dtype=torch.long)
        frames = [engine.tick(session, row) for _ in range(NUM_FRAMES)]
        return torch.cat(frames, 1)
