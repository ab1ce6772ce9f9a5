"""The transformer: windows against a slow check, causality,
the cache against recomputing everything.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from conftest import make_table, wake

from streamdit_gym.errors import PartitionError
from streamdit_gym.model.patchify import patchify, unpatchify
from streamdit_gym.model.preconditioning import velocity_of_clean
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.model.time_embedding import rotate, rotation
from streamdit_gym.model.window_attention import WindowAttention, attention_bias
from streamdit_gym.stream.flow import point, velocity
from streamdit_gym.stream.views import cached_view, stream_mask, stream_view, teacher_view
from streamdit_gym.text.prompt_table import PromptTable
from streamdit_gym.types import BufferView, Conditioning

CONFIG = StreamDiTConfig(width=32, depth=3, heads=2)


def split_view(
    latents: torch.Tensor,
    times: torch.Tensor,
    references: int,
    *,
    causal: bool,
    chunk_frames: int,
    limit: int,
) -> BufferView:
    """Return the view of frames of which the first ones are references."""
    return stream_view(
        latents[:, :references],
        times[:, :references],
        latents[:, references:],
        times[:, references:],
        causal=causal,
        chunk_frames=chunk_frames,
        limit=limit,
    )


def model_of(config: StreamDiTConfig = CONFIG) -> StreamDiT:
    torch.manual_seed(0)
    model = StreamDiT(config)
    wake(model)
    return model.eval()


def table() -> PromptTable:
    return make_table([f"phrase {i}" for i in range(6)])


def prompts(rows: int, frames: int) -> Conditioning:
    return table().conditioning(torch.arange(rows * frames).reshape(rows, frames) % 7 - 1)


def slow_windows(
    layer: WindowAttention, x: torch.Tensor, frames: int, mask: torch.Tensor | None
) -> torch.Tensor:
    """The obvious way: every pair of tokens, one by one, asks whether they share a window."""
    rows, columns = layer.token_grid
    n = rows * columns
    size = (min(layer.window[0] or frames, frames), *layer.window[1:])
    length = frames + -frames % size[0]
    shift = [
        s // 2 if layer.shifted and s < g else 0
        for s, g in zip(size, (length, rows, columns), strict=True)
    ]
    q, k, v = layer.qkv(x).reshape(len(x), frames, n, 3, layer.heads, -1).unbind(3)
    cosine, sine = rotation(torch.arange(frames), q.shape[-1])
    q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
    places = list(itertools.product(range(frames), range(rows), range(columns)))

    def window_of(place: tuple[int, int, int]) -> tuple:
        moved = [(p - s) % g for p, s, g in zip(place, shift, (length, rows, columns), strict=True)]
        wrapped = [p < s for p, s in zip(place, shift, strict=True)]
        return (*(m // s for m, s in zip(moved, size, strict=True)), *wrapped)

    out = torch.zeros(len(x), frames * n, x.shape[-1])
    q, k, v = (part.reshape(len(x), frames * n, layer.heads, -1) for part in (q, k, v))
    for i, here in enumerate(places):
        seen = [
            j
            for j, there in enumerate(places)
            if window_of(here) == window_of(there) and (mask is None or mask[here[0], there[0]])
        ]
        weight = torch.einsum("bgd,bjgd->bgj", q[:, i], k[:, seen]) / q.shape[-1] ** 0.5
        out[:, i] = torch.einsum("bgj,bjgd->bgd", weight.softmax(-1), v[:, seen]).flatten(1)
    return layer.out(out.reshape(len(x), frames, n, -1))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("window", [(2, 2, 2), (4, 2, 4), (0, 2, 2), (0, 4, 4)], ids=str)
@pytest.mark.parametrize("frames", [4, 5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_window_attention_equals_the_slow_twin(
    window: tuple[int, int, int], shifted: bool, causal: bool, frames: int, learns: bool
) -> None:
    layer = WindowAttention(16, 2, (4, 4), window, shifted)
    x = torch.randn(2, frames, 16, 16)
    mask = torch.ones(frames, frames, dtype=torch.bool).tril() if causal else None
    with torch.set_grad_enabled(learns):
        found, _ = layer(
            x,
            rotation(torch.arange(frames), 8),
            attention_bias(mask, 16) if layer.is_global and mask is not None else mask,
            None,
        )
    torch.testing.assert_close(found, slow_windows(layer, x, frames, mask), atol=1e-5, rtol=1e-4)


def test_a_rotation_multiplies_complex_numbers() -> None:
    x, turns = (
        torch.randn(2, 3, 4, 2, 8),
        torch.arange(3)[:, None] * 100.0 ** (-torch.arange(0, 8, 2) / 8),
    )
    expected = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones(3, 4), turns)[:, None, None]
    found = rotate(x, *rotation(torch.arange(3), 8))
    torch.testing.assert_close(found, torch.cat([expected.real, expected.imag], -1))


@pytest.mark.parametrize("learns", [False, True])
def test_blocks_overwrite_no_tensor_that_is_used_again(learns: bool) -> None:
    model = model_of()
    latents, times, said = torch.randn(1, 3, 8, 8, 8), torch.rand(1, 3), prompts(1, 3)
    view = full_view(latents, times, 1, 1, 4)
    with torch.set_grad_enabled(learns):
        first, second = (model(view, said)[0] for _ in range(2))
    assert torch.equal(first, second)
    if learns:
        (first.sum() + second.sum()).backward()
        assert all(parameter.grad is not None for parameter in model.blocks.parameters())


@pytest.mark.parametrize(
    "sizes", [(16, 2, (4, 4), (0, 3, 4)), (16, 2, (4, 6), (0, 4, 4)), (18, 4, (4, 4), (0, 4, 4))]
)
def test_sizes_that_do_not_fit_each_other_are_refused(sizes: tuple) -> None:
    with pytest.raises(PartitionError, match="do not fit"):
        WindowAttention(*sizes, False)


def test_patches_are_put_back() -> None:
    latents = torch.randn(2, 3, 8, 8, 12)
    assert (unpatchify(patchify(latents, 2), 2, 4) == latents).all()


def test_the_velocity_of_the_true_clean_latent_is_the_true_velocity() -> None:
    clean, noise, times = (
        torch.randn(1, 3, 2, 2, 2),
        torch.randn(1, 3, 2, 2, 2),
        torch.tensor([[0.0, 0.4, 0.9]]),
    )
    found = velocity_of_clean(clean, point(clean, noise, times), times)
    torch.testing.assert_close(found, velocity(clean, noise), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("c", [1, 2])
def test_a_causal_model_looks_only_back(c: int) -> None:
    model = model_of()
    latents, times = torch.randn(1, 6, 8, 8, 8), torch.rand(1, 6)
    view = split_view(latents, times, 2, causal=True, chunk_frames=c, limit=4)
    before, _ = model(view, prompts(1, 6))
    for changed in range(2, 6):
        other = latents.clone()
        other[:, changed] += 1
        index = prompts(1, 6).index.clone()
        index[:, changed] = (index[:, changed] + 2) % 6
        view = split_view(other, times, 2, causal=True, chunk_frames=c, limit=4)
        after, _ = model(view, replace(prompts(1, 6), index=index))
        first = (changed - 2) // c * c  # its chunk's first frame is the first that may notice
        assert (after[:, :first] == before[:, :first]).all()
        assert ((after[:, first:] - before[:, first:]).abs().amax((2, 3, 4)) > 1e-6).all()


def test_a_whole_model_without_mask_sees_everything() -> None:
    model = model_of(replace(CONFIG, causal=False))
    latents, times = torch.randn(1, 4, 8, 8, 8), torch.rand(1, 4)
    view = stream_view(
        latents[:, :0], times[:, :0], latents, times, causal=False, chunk_frames=1, limit=4
    )
    before, _ = model(view, prompts(1, 4))
    latents[:, 3] += 1
    view = stream_view(
        latents[:, :0], times[:, :0], latents, times, causal=False, chunk_frames=1, limit=4
    )
    after, _ = model(view, prompts(1, 4))
    assert ((after - before).abs().amax((2, 3, 4)) > 1e-6).all()


@pytest.mark.parametrize("part", ["pooled", "tokens"])
def test_each_frame_obeys_its_own_prompt_by_both_routes(part: str) -> None:
    model = model_of()
    latents, times = torch.randn(1, 4, 8, 8, 8), torch.zeros(1, 4)
    view = split_view(latents, times, 2, causal=True, chunk_frames=1, limit=4)
    given = table().conditioning(torch.tensor([[0, 1, 2, 3]]))
    other = replace(
        given,
        **{
            part: getattr(given, part).index_add(
                0, torch.tensor([3]), torch.ones(1, *getattr(given, part).shape[1:])
            )
        },
    )
    change = (model(view, given)[0] - model(view, other)[0]).abs().amax((2, 3, 4))[0]
    assert change[0] == 0
    assert change[1] > 1e-6


def test_guidance_goes_past_what_the_prompt_asks_for_and_leaves_references_alone() -> None:
    model = model_of()
    latents, times = torch.randn(1, 4, 8, 8, 8), torch.rand(1, 4)
    view = split_view(latents, times, 2, causal=True, chunk_frames=1, limit=4)
    given = table().conditioning(torch.tensor([[0, 1, 2, 3]]))
    (said, keys), (unsaid, _) = (
        model(view, given),
        model(view, replace(given, index=torch.tensor([[0, 1, -1, -1]]))),
    )
    model.config = replace(model.config, guidance=1.5)
    guided, kept = model(view, given)
    torch.testing.assert_close(guided, unsaid + 1.5 * (said - unsaid), atol=1e-4, rtol=1e-4)
    assert all(map(torch.equal, kept.tensors(), keys.tensors())), (
        "what is cached is of the prompts as they were said"
    )
    assert torch.equal(model.train()(view, given)[0], said), "training knows no guidance"


def test_padding_of_a_prompt_does_not_matter() -> None:
    model = model_of()
    latents, times = torch.randn(1, 2, 8, 8, 8), torch.zeros(1, 2)
    view = split_view(latents, times, 1, causal=True, chunk_frames=1, limit=4)
    given = table().conditioning(torch.tensor([[0, 2]]))
    longer = replace(
        given,
        tokens=torch.nn.functional.pad(given.tokens, (0, 0, 0, 3), value=9.0),
        mask=torch.nn.functional.pad(given.mask, (0, 3)),
    )
    torch.testing.assert_close(model(view, given)[0], model(view, longer)[0])


def full_view(
    latents: torch.Tensor, times: torch.Tensor, references: int, c: int, limit: int
) -> BufferView:
    """Everything since the beginning in one call, nothing cached: the slow way."""
    zero = torch.zeros_like(latents[:, :1])
    return cached_view(
        latents[:, :references],
        times[:, :references],
        latents[:, references:],
        times[:, references:],
        zero,
        times[:, :1] * 0,
        cached=0,
        chunk_frames=c,
        limit=limit,
    )


@pytest.mark.parametrize("c", [1, 2])
def test_the_cache_equals_recomputing_everything(c: int) -> None:
    """Stream 8 clean frames through a cache of K = 4,
    each call with the newest clean frames and two noisy chunks.
    """
    model, k = model_of(), 4
    latents, times = torch.randn(2, 8 + 2 * c, 8, 8, 8), torch.ones(2, 8 + 2 * c)
    times[:, 8:] = torch.rand(2, 2 * c)
    index = prompts(2, 8 + 2 * c).index
    view = full_view(latents, times, 8, c, k)
    slow, _ = model(view, prompts(2, 8 + 2 * c))

    cache = None
    for done in range(0, 8, c):
        fresh = slice(done, done + c)
        last = done + c == 8
        noisy = slice(8, 8 + 2 * c) if last else slice(0, 0)
        before = latents[:, done - 1 : done] if done else torch.zeros_like(latents[:, :1])
        view = cached_view(
            latents[:, fresh],
            times[:, fresh],
            latents[:, noisy],
            times[:, noisy],
            before,
            torch.full((2, 1), float(done > 0)),
            cached=0 if cache is None else cache.frames,
            chunk_frames=c,
            limit=k,
        )
        called = torch.cat([index[:, fresh], index[:, noisy]], 1)
        known = 0 if cache is None else cache.frames
        found, grown = model(view, table().conditioning(called), cache)
        assert grown.frames == known + c, "of frames that are denoised nothing is kept"
        cache = grown.last(k - 1)
        assert cache.frames == min(done + c, k - 1)
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-4)


def test_the_teacher_layout_equals_one_call_per_next_frame() -> None:
    model, k, f = model_of(), 4, 6
    clip, times = torch.randn(1, f + 1, 8, 8, 8), torch.rand(1, f)
    noisy = torch.randn(1, f, 8, 8, 8)
    index = prompts(1, f + 1).index
    view = teacher_view(clip[:, :-1], torch.ones(1, f), noisy, times, limit=k)
    together, _ = model(view, table().conditioning(torch.cat([index[:, :-1], index[:, 1:]], 1)))
    for i in range(f):
        latents = torch.cat([clip[:, : i + 1], noisy[:, i : i + 1]], 1)
        alone = full_view(
            latents, torch.cat([torch.ones(1, i + 1), times[:, i : i + 1]], 1), i + 1, 1, k
        )
        found, _ = model(alone, table().conditioning(index[:, : i + 2]))
        torch.testing.assert_close(together[:, i], found[:, -1], atol=1e-5, rtol=1e-4)


def test_the_mask_lets_a_reference_see_no_more_than_a_cache_holds() -> None:
    mask = stream_mask(6, 2, 1, 4)
    assert mask[5].tolist() == [False, False, True, True, True, True, False, False]
    assert mask[7].tolist() == [False, False, True, True, True, True, True, True]


def test_a_model_with_small_windows_refuses_a_cache() -> None:
    model = model_of(replace(CONFIG, window=(0, 2, 2)))
    view = full_view(torch.randn(1, 2, 8, 8, 8), torch.ones(1, 2), 1, 1, 4)
    _, new = model(view, prompts(1, 2))
    with pytest.raises(PartitionError, match="without the cache"):
        model(view, prompts(1, 2), new)


def test_tensors_keep_their_old_names_on_disk_and_are_read_by_both() -> None:
    config = replace(CONFIG, channels=11, global_channels=3, refiner_channels=16)
    model, other, third = (model_of(config) for _ in range(3))
    stored = model.state_dict()
    parts = {name.split(".")[0] for name in stored}
    assert {"place", "carry", "refine", "looks"} <= parts
    assert "blocks.0.widen.weight" in stored
    wake(other)
    other.load_state_dict(stored)
    wake(third)
    third.load_state_dict(dict(model.named_parameters()))
    for copy in (other, third):
        assert all(map(torch.equal, copy.parameters(), model.parameters()))
