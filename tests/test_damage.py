"""ContextCorruption: frames are spoilt as it says, and only where it says."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from streamdit_gym.model.codec import LatentCodec
from streamdit_gym.train.context_corruption import ContextCorruption, _stands_out


class Pixels(LatentCodec):
    """A codec whose latents are an 8 x 8 picture's pixels,
    so that damage to pixels can be told by hand.
    """

    size, channels, grid = 8, 8, 8

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels / self.scale).mean(1, keepdim=True).expand(-1, 8, -1, -1)

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return (latents[:, :1] * self.scale).expand(-1, 3, -1, -1)


def harm(**kinds: float) -> ContextCorruption:
    none = {"bend": 0.0, "piece": 0.0, "double": 0.0, "fade": 0.0}
    return ContextCorruption(codec=Pixels(), **(none | kinds))


def a_square() -> torch.Tensor:
    frame = torch.zeros(8, 8)
    frame[2:6, 2:6] = 2.0
    return frame.expand(40, 4, 8, 8, 8).clone()


def test_damage_bends_every_frame_of_a_clip_alike_and_every_clip_its_own_way() -> None:
    torch.manual_seed(0)
    latents = a_square()
    damaged = harm(bend=1.0, piece=3.0, double=0.5, fade=0.5)(latents)
    assert damaged.shape == latents.shape
    assert (damaged - damaged[:, :1]).abs().max() < 1e-5
    assert ((damaged - latents).abs().amax((1, 2, 3, 4)) > 0.1).sum() > 30
    assert (damaged[0] - damaged[1]).abs().max() > 0.1
    assert damaged.min() > -1e-4, "what is there is moved or mixed, never made"
    assert damaged.max() < 2 + 1e-4
    assert torch.allclose(harm()(latents), latents, atol=1e-5)


def test_a_piece_of_a_damaged_frame_comes_from_elsewhere() -> None:
    torch.manual_seed(1)
    latents = torch.arange(64.0).reshape(8, 8).expand(20, 1, 8, 8, 8) / 32 - 1
    moved = (harm(piece=2.0)(latents) - latents)[:, 0, 0].abs() > 1e-3
    assert 0 < moved.sum() < 20 * 32


def only(monkeypatch: pytest.MonkeyPatch, kind: int) -> None:
    monkeypatch.setattr(
        torch, "randint", lambda high, shape, **kinds: torch.full(shape, kind, **kinds)
    )


def test_a_thing_near_an_edge_is_slid_towards_it_and_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(6)
    along = torch.arange(8.0)
    for (column, row), comes_from in {
        (0, 4): [3, 0],
        (7, 4): [-3, 0],
        (4, 1): [0, 3],
        (3, 6): [0, -3],
    }.items():
        y, x = torch.meshgrid(along - row, along - column, indexing="ij")
        found = harm(piece=1.5)._off_the_edge(x[None], y[None]).flatten().tolist()
        assert found == comes_from
    y, x = torch.meshgrid(along - 3, along - 3, indexing="ij")
    assert not harm(piece=1.0)._off_the_edge(x[None], y[None]).any(), "every edge is far"
    only(monkeypatch, 3)
    latents = torch.zeros(60, 1, 8, 8, 8)
    latents[..., 4, 0] = 2.0
    damaged = harm(piece=1.5)(latents)
    share = ((damaged - latents).abs().amax((1, 2, 3, 4)) > 1e-3).float().mean()
    assert 0.3 < share < 1


def test_a_thing_is_spread_about_a_place_by_direction_and_only_near_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(4)
    only(monkeypatch, 2)
    latents = torch.arange(64.0).reshape(8, 8).expand(40, 1, 8, 8, 8) / 32 - 1
    changed = (harm(piece=1.5)(latents) - latents)[:, 0, 0].abs() > 1e-3
    assert 0 < changed.sum(dim=(1, 2)).max() <= 29, "a disc of radius 3 has 29 pixels"
    assert (changed.sum(dim=(1, 2)) > 0).float().mean() > 0.9
    assert torch.allclose(harm(piece=1.5, spread=(0.0, 0.0))(latents), latents, atol=1e-5)


def test_a_thing_is_squeezed_and_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    only(monkeypatch, 4)
    latents = a_square()
    left = harm(piece=4.0, squeeze=3.0)(latents).sum((1, 2, 3, 4)) / latents[0].sum()
    assert (left < 1 + 1e-4).all(), "nothing is added"
    assert 0.2 < left.median() < 0.8
    assert torch.allclose(harm(piece=4.0, squeeze=1.0)(latents), latents, atol=1e-5)


def test_a_number_for_each_direction_is_the_same_all_along_it() -> None:
    torch.manual_seed(5)
    angle = torch.linspace(-3.1, 3.1, 50)[None, :, None].expand(200, -1, 2)
    length = torch.tensor([1.0, 5.0])
    found = harm()._by_direction(angle.cos() * length, angle.sin() * length, 0.4)
    assert torch.allclose(found[..., 0], found[..., 1], atol=1e-4)
    assert found.std(0).mean() == pytest.approx(0.4 * (1 + 2**-4 + 3**-4) ** 0.5, rel=0.15)


def test_a_disc_of_a_faded_frame_pales_and_nothing_else_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(2)
    monkeypatch.setattr(ContextCorruption, "_displaced", lambda self, clips: clips)
    latents = a_square()
    made = harm(piece=3.0, fade=1.0)(latents)
    assert (made <= latents + 1e-5).all()
    assert 0.1 < (made[latents > 0] / 2).mean() < 0.95
    assert torch.allclose(made[latents == 0], latents[latents == 0], atol=1e-5)


def test_either_of_two_keeps_what_stands_out_in_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    latents = torch.zeros(30, 1, 8, 8, 8)
    latents[..., 3, 3] = 2.0
    steps = itertools.cycle([1, 3])
    monkeypatch.setattr(
        ContextCorruption, "_displaced", lambda self, clips: clips.roll(next(steps), -1)
    )
    made = harm(double=1.0)(latents)[:, 0, 0, 3]
    assert set(made[:, 4].unique().tolist()) == set(made[:, 6].unique().tolist()) == {1.0, 2.0}, (
        "the mean of both, or both"
    )
    assert (made[:, 3] == 0).all()


def test_what_stands_out_differs_from_the_colour_that_most_of_the_frame_has() -> None:
    clips = torch.full((1, 2, 3, 8, 8), 0.25)
    clips[:, 1] = -0.5
    clips[..., 2:5, 2:5] = 1.0
    standing = _stands_out(clips)
    assert (standing[0, :, 0, 2:5, 2:5] > 1).all()
    assert standing.count_nonzero() == 2 * 9
