"""Corruption of reference frames: frames are spoilt as it says, and only where it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.corruption import corruption

from streamdit_gym.train.context_corruption import (
    ELSEWHERE,
    ROTATE,
    SLIDE,
    SQUEEZE,
    STRETCH,
    Fade,
    Superimpose,
)
from streamdit_gym.train.region_warps import (
    Region,
    nearest_edge_direction,
    pick_region,
    random_by_direction,
    saliency,
)


def square_latents() -> torch.Tensor:
    frame = torch.zeros(8, 8)
    frame[2:6, 2:6] = 2.0
    return frame.expand(40, 4, 8, 8, 8).clone()


def ramp_latents(clips: int) -> torch.Tensor:
    """Latents whose every cell has a value of its own."""
    return torch.arange(64.0).reshape(8, 8).expand(clips, 1, 8, 8, 8) / 32 - 1


def region_at(column: int, row: int) -> Region:
    """Return a region about a cell of an 8 x 8 frame."""
    along = torch.arange(8.0)
    y, x = torch.meshgrid(along - row, along - column, indexing="ij")
    return Region(x[None], y[None], torch.ones(1, 8, 8, dtype=torch.bool))


@pytest.fixture
def choose_kind(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that lets all regions be displaced in one way."""

    def choose(kind: int) -> None:
        monkeypatch.setattr(
            torch, "randint", lambda _high, shape, **options: torch.full(shape, kind, **options)
        )

    return choose


def test_all_frames_of_a_clip_are_corrupted_alike_and_every_clip_in_its_own_way() -> None:
    torch.manual_seed(0)
    latents = square_latents()
    corrupted = corruption(bend=1.0, radius=3.0, superimpose=0.5, fade=0.5)(latents)
    assert corrupted.shape == latents.shape
    assert (corrupted - corrupted[:, :1]).abs().max() < 1e-5
    changed = (corrupted - latents).abs().amax((1, 2, 3, 4)) > 0.1
    assert changed.sum() > 30
    assert (corrupted[0] - corrupted[1]).abs().max() > 0.1


def test_content_is_moved_or_mixed_and_never_invented() -> None:
    torch.manual_seed(0)
    corrupted = corruption(bend=1.0, radius=3.0, superimpose=0.5, fade=0.5)(square_latents())
    assert corrupted.min() > -1e-4
    assert corrupted.max() < 2 + 1e-4


def test_without_any_strength_nothing_changes() -> None:
    assert torch.allclose(corruption()(square_latents()), square_latents(), atol=1e-5)


def test_a_region_comes_from_elsewhere() -> None:
    torch.manual_seed(1)
    latents = ramp_latents(20)
    changed = (corruption(radius=2.0)(latents) - latents)[:, 0, 0].abs() > 1e-3
    assert 0 < changed.sum() < 20 * 32


@pytest.mark.parametrize("kind", [ELSEWHERE, ROTATE, STRETCH, SLIDE, SQUEEZE])
def test_only_the_region_changes(kind: int, choose_kind: Callable[[int], None]) -> None:
    torch.manual_seed(3)
    choose_kind(kind)
    latents = ramp_latents(40)
    changed = (corruption(radius=1.5)(latents) - latents)[:, 0, 0].abs() > 1e-3
    per_clip = changed.sum(dim=(1, 2))
    assert 0 < per_clip.max() <= 29, "a disc of radius 3 has 29 cells"


@pytest.mark.parametrize(
    ("column", "row", "inwards"),
    [(0, 4, [1, 0]), (7, 4, [-1, 0]), (4, 1, [0, 1]), (3, 6, [0, -1])],
)
def test_the_nearest_edge_is_found(column: int, row: int, inwards: list[int]) -> None:
    assert nearest_edge_direction(region_at(column, row), 3.0).flatten().tolist() == inwards


def test_far_from_every_edge_nothing_slides() -> None:
    assert not nearest_edge_direction(region_at(3, 3), 2.0).any()


def test_a_thing_near_an_edge_slides_towards_it(choose_kind: Callable[[int], None]) -> None:
    torch.manual_seed(6)
    choose_kind(SLIDE)
    latents = torch.zeros(60, 1, 8, 8, 8)
    latents[..., 4, 0] = 2.0
    corrupted = corruption(radius=1.5)(latents)
    share = ((corrupted - latents).abs().amax((1, 2, 3, 4)) > 1e-3).float().mean()
    assert 0.3 < share < 1


def test_a_thing_is_stretched_by_direction(choose_kind: Callable[[int], None]) -> None:
    torch.manual_seed(4)
    choose_kind(STRETCH)
    latents = ramp_latents(40)
    changed = (corruption(radius=1.5)(latents) - latents)[:, 0, 0].abs() > 1e-3
    assert (changed.sum(dim=(1, 2)) > 0).float().mean() > 0.9
    unstretched = corruption(radius=1.5, stretch=(0.0, 0.0))(latents)
    assert torch.allclose(unstretched, latents, atol=1e-5)


def test_a_thing_is_squeezed_where_it_is(choose_kind: Callable[[int], None]) -> None:
    torch.manual_seed(4)
    choose_kind(SQUEEZE)
    latents = square_latents()
    total = latents[0].sum()
    remaining = corruption(radius=4.0, squeeze=3.0)(latents).sum((1, 2, 3, 4)) / total
    assert (remaining < 1 + 1e-4).all(), "nothing is added"
    assert 0.2 < remaining.median() < 0.8
    unsqueezed = corruption(radius=4.0, squeeze=1.0)(latents)
    assert torch.allclose(unsqueezed, latents, atol=1e-5)


def test_a_random_number_for_each_direction_is_the_same_all_along_it() -> None:
    torch.manual_seed(5)
    angle = torch.linspace(-3.1, 3.1, 50)[None, :, None].expand(200, -1, 2)
    length = torch.tensor([1.0, 5.0])
    everywhere = torch.ones_like(angle, dtype=torch.bool)
    region = Region(angle.cos() * length, angle.sin() * length, everywhere)
    numbers = random_by_direction(region, 0.4)
    assert torch.allclose(numbers[..., 0], numbers[..., 1], atol=1e-4)
    expected_std = 0.4 * (1 + 2**-4 + 3**-4) ** 0.5
    assert numbers.std(0).mean() == pytest.approx(expected_std, rel=0.15)


def test_a_region_fades_towards_the_background_and_nothing_else_changes() -> None:
    torch.manual_seed(2)
    clips = square_latents()
    fade = Fade(probability=1.0, radius=3.0)
    faded = fade(clips, fade.region(clips))
    assert (faded <= clips + 1e-5).all()
    assert 0.1 < (faded[clips > 0] / 2).mean() < 0.95
    assert torch.allclose(faded[clips == 0], clips[clips == 0], atol=1e-5)


def test_two_superimposed_frames_show_their_mean_or_the_foreground_of_both() -> None:
    shifts = iter([1, 3])
    superimpose = Superimpose(
        warp=lambda clips: clips.roll(next(shifts), -1),
        probability=1.0,
    )
    clips = torch.zeros(30, 1, 8, 8, 8)
    clips[..., 3, 3] = 2.0
    row = superimpose(clips)[:, 0, 0, 3]
    assert set(row[:, 4].unique().tolist()) == {1.0, 2.0}
    assert set(row[:, 6].unique().tolist()) == {1.0, 2.0}
    assert (row[:, 3] == 0).all()


def test_salient_is_what_differs_from_the_background() -> None:
    clips = torch.full((1, 2, 3, 8, 8), 0.25)
    clips[:, 1] = -0.5
    clips[..., 2:5, 2:5] = 1.0
    salient = saliency(clips)
    assert (salient[0, :, 0, 2:5, 2:5] > 1).all()
    assert salient.count_nonzero() == 2 * 9


def test_half_of_the_regions_are_on_something_salient() -> None:
    torch.manual_seed(0)
    clips = torch.zeros(400, 1, 1, 8, 8)
    clips[..., 3, 3] = 1.0
    region = pick_region(clips, torch.full((400, 1, 1), 0.5))
    share = region.inside[:, 3, 3].float().mean()
    assert share == pytest.approx(0.5, abs=0.1)
