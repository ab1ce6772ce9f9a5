"""Prompts of a box: a value can be read back from the conditioning, and free text finds values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_table

from streamdit_gym.actions import SpokenBox
from streamdit_gym.text.prompt_encoder import MiniLMEncoder
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.text.spoken_table import SpokenTable, standardised_words

WORDS = ("hard left", "left", "still", "right", "hard right")
BOX = SpokenBox(shoulder=WORDS, elbow=WORDS)
UNEVEN = SpokenBox({"arm": ("down", "up"), "hand": ("open", "half", "shut")}, low=0.0, high=2.0)
NOISE = 0.02  # of a typical embedding: a probe must not live on the last digits


@pytest.fixture(scope="module")
def spoken() -> SpokenTable:
    """The box in the real encoder's words."""
    pytest.importorskip("transformers")
    encoder = MiniLMEncoder()
    return SpokenTable(BOX, PromptTable.from_encoder(encoder, BOX.clauses))


def random_positions(box: SpokenBox, count: int, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).uniform(box.low, box.high, (count, len(box)))
    return torch.from_numpy(box.positions(values))


def r_squared(inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Fit a linear probe to the first half and return R2 of the second half's worst dimension."""
    half = len(inputs) // 2
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    targets = targets.double()
    weights = torch.linalg.lstsq(inputs[:half], targets[:half], driver="gelsd").solution
    errors = (inputs[half:] @ weights - targets[half:]).square().mean(0)
    return float((1 - errors / targets[half:].var(0)).min())


def test_clauses_that_a_table_lacks_are_embedded(spoken: SpokenTable) -> None:
    of_another_world = PromptTable.from_encoder(MiniLMEncoder(), ["stay"])
    table = SpokenTable(BOX, of_another_world)
    torch.testing.assert_close(table.words, spoken.words, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("part", ["tokens", "pooled"])
def test_a_linear_probe_reads_values_back_from_the_conditioning(
    spoken: SpokenTable, part: str
) -> None:
    positions = random_positions(BOX, 4000)
    conditioning = spoken.conditioning(positions[:, None])
    embeddings = getattr(conditioning, part).flatten(1)
    noise = NOISE * embeddings.std() * torch.randn(embeddings.shape)
    assert r_squared(embeddings + noise, positions) > 0.99


def test_words_of_a_dimension_stand_as_far_apart_as_typical_embeddings(
    spoken: SpokenTable,
) -> None:
    raw = spoken.table.pooled[spoken.table.rows(BOX.clauses)]
    typical = raw.square().sum(-1).mean().sqrt()
    for before, after in zip(raw.split(5), spoken.words.split(5), strict=True):
        torch.testing.assert_close(after.mean(0), before.mean(0), atol=1e-5, rtol=1e-5)
        rms = (after - after.mean(0)).square().sum(-1).mean().sqrt()
        assert rms == pytest.approx(float(typical), rel=1e-5)
        assert rms > 2 * (before - before.mean(0)).square().sum(-1).mean().sqrt()


def test_equal_words_are_no_division_by_zero() -> None:
    assert standardised_words(torch.ones(2, 8), [2]).isfinite().all()


@pytest.mark.parametrize("box", [BOX, UNEVEN], ids=["even", "uneven"])
def test_the_conditioning_is_what_a_loop_over_dimensions_makes(box: SpokenBox) -> None:
    """The slow way: every token by itself, from the two words that it lies between."""
    table = SpokenTable(box, make_table(box.clauses))
    positions = random_positions(box, 6).reshape(2, 3, -1)
    positions[0, 0] = 0
    positions[1, 2] = torch.tensor([len(words) - 1 for words in box.words])
    prompts = table.conditioning(positions)
    for row, position in enumerate(positions.reshape(6, -1)):
        first = 0
        for dimension, words in enumerate(box.words):
            lower = min(int(position[dimension]), len(words) - 2)
            share = position[dimension] - lower
            of_dimension = table.words[first : first + len(words)]
            token = (1 - share) * of_dimension[lower] + share * of_dimension[lower + 1]
            torch.testing.assert_close(prompts.tokens[row, dimension], token)
            first += len(words)
        torch.testing.assert_close(prompts.pooled[row], prompts.tokens[row].mean(0))
    assert prompts.mask.all()
    assert prompts.index.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_position_that_is_nan_is_no_prompt() -> None:
    table = SpokenTable(BOX, make_table(BOX.clauses))
    positions = torch.stack([table.no_prompt, table.idle_prompt])[None]
    prompts = table.conditioning(positions)
    assert prompts.index.tolist() == [[-1, 1]]
    assert prompts.tokens.isfinite().all()


def test_positions_outside_the_words_are_moved_to_the_border() -> None:
    table = SpokenTable(BOX, make_table(BOX.clauses))
    outside = table.conditioning(torch.tensor([[[-3.0, 9.0]]]))
    border = table.conditioning(torch.tensor([[[0.0, 4.0]]]))
    assert torch.equal(outside.tokens, border.tokens)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("shoulder left; elbow still", [1, 2]),
        ("Elbow hard right, shoulder right.", [3, 4]),
        ("elbow left", [2, 1]),
        ("swing the shoulder leftwards", [1, 2]),
        ("the elbow does not move", [2, 2]),
        ("pull the elbows rightmost", [2, 3]),
        ("turn the elbow a little to the left", [2, 1]),
    ],
)
def test_free_text_becomes_positions(spoken: SpokenTable, text: str, position: list[int]) -> None:
    assert spoken.of_texts([text]).tolist() == [position]


def test_numbers_in_texts_are_values(spoken: SpokenTable) -> None:
    first, second = spoken.box.names[:2]
    text = f"{first} 0.25; {second} {spoken.box.words[1][0]}"
    values = spoken.box.values(spoken.of_texts([text])[0].numpy())
    assert values[0] == pytest.approx(0.25)
    assert values[1] == pytest.approx(spoken.box.low[1])
    beyond = spoken.box.values(spoken.of_texts([f"{first} 1e9"])[0].numpy())
    assert beyond[0] == pytest.approx(spoken.box.high[0])


def test_the_prompt_of_a_value_leads_back_to_its_nearest_words() -> None:
    table = SpokenTable(BOX, make_table(BOX.clauses))
    values = np.array([[-1.0, 0.5], [0.1, 0.9]], dtype=np.float32)
    texts = [BOX.prompt(value) for value in values]
    assert table.of_texts(texts).tolist() == np.rint(BOX.positions(values)).tolist()
