"""Noise: the right bits, normal numbers, and a sequence of its own for every stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamdit_gym.stream.noise import Noise

WORD = 2**64 - 1


def mixed(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def slowly(seed: int, pairs: int) -> list[float]:
    """Return a stream's first numbers, made one by one with Python's unbounded integers."""
    state, radii, angles = mixed(seed), [], []
    for _ in range(pairs):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        bits = mixed(state)
        radii.append(np.sqrt(-2 * np.log(((bits >> 32) + 0.5) / 2**32)))
        angles.append(2 * np.pi * ((bits & 0xFFFFFFFF) + 0.5) / 2**32)
    return list(np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1).flatten())


def test_the_mixer_gives_the_published_numbers() -> None:
    assert mixed((1234567 + 0x9E3779B97F4A7C15) & WORD) == 6457827717110365317


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, 2**63 - 1])
def test_all_at_once_gives_what_one_by_one_gives(seed: int) -> None:
    drawn = Noise.seeded([5, seed]).draw((4, 8))
    np.testing.assert_allclose(drawn[1].flatten(), slowly(seed, 16), atol=2e-5)


def test_the_numbers_are_normal_and_streams_are_strangers() -> None:
    drawn = Noise.seeded(range(200)).draw((5000,)).double()
    assert drawn.mean().abs() < 0.003
    assert drawn.std() == pytest.approx(1, abs=0.003)
    for power, expected in ((3, 0.0), (4, 3.0), (6, 15.0)):
        assert (drawn**power).mean() == pytest.approx(expected, abs=0.15)
    shares = [(drawn < edge).double().mean().item() for edge in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(shares, [0.0228, 0.1587, 0.5, 0.8413, 0.9772], atol=0.002)
    alike = torch.corrcoef(drawn).fill_diagonal_(0).abs().max()
    assert alike < 6 / np.sqrt(5000), "seeds beside each other must not give noise that is alike"
    steps = drawn[:, 1:].flatten(), drawn[:, :-1].flatten()
    assert torch.corrcoef(torch.stack(steps))[0, 1].abs() < 0.005


def test_a_streams_noise_depends_on_neither_the_batch_nor_how_it_is_cut() -> None:
    whole, cut = Noise.seeded([6]).draw((4, 3)), Noise.seeded([6])
    assert torch.equal(whole, torch.cat([cut.draw((2, 3)), cut.draw((2, 3))], 1))
    together, alone = Noise.seeded([3, 4, 5]), Noise.seeded([4])
    for shape in ((1, 2, 2), (3,), (1, 2, 2)):
        torch.testing.assert_close(
            together.draw(shape)[1:2], alone.draw(shape), atol=1e-6, rtol=1e-6
        )
    assert not torch.equal(alone.draw((4,)), alone.draw((4,)))


def test_replaced_rows_begin_anew_and_copies_go_their_own_ways() -> None:
    noise = Noise.seeded([1, 2, 3])
    noise.draw((6,))
    kept = noise.to("cpu")
    noise.write(torch.tensor([1]), Noise.seeded([9]))
    first = noise.draw((6,))
    torch.testing.assert_close(first[1:2], Noise.seeded([9]).draw((6,)))
    assert torch.equal(first[[0, 2]], kept.draw((6,))[[0, 2]])


def test_numpys_generators_seed_streams() -> None:
    rngs = [np.random.default_rng(7), np.random.default_rng(7), np.random.default_rng(8)]
    first, same, other = Noise.of(rngs).draw((4,))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
