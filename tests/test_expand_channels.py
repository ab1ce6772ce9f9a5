"""More latent channels, for looks: the old ones go on doing what they did,
and the new ones can be learned.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import wake

from streamdit_gym.errors import ShapeError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.expand_channels import expand_codec, expand_model
from streamdit_gym.model.streamdit import StreamDiT
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.stream.views import stream_view
from streamdit_gym.types import Conditioning

CONFIG = StreamDiTConfig(width=64, depth=2, heads=2, refiner_channels=16)


def codec_of(**sizes: int) -> ConvCodec:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1, **sizes)).eval()
    wake(codec)
    codec.normalise.running_mean.normal_()
    codec.normalise.running_var.uniform_(0.5, 2)
    return codec


def test_a_wider_codec_encodes_places_as_before_and_learns_to_paint() -> None:
    codec = codec_of()
    made = expand_codec(codec, 6)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = made.encode_pixels(pixels)
    assert latents.shape == (2, 14, 8, 8)
    assert torch.allclose(latents[:, :8], codec.encode_pixels(pixels), atol=1e-5)
    assert torch.allclose(latents[:, 8:], latents[:, 8:, :1, :1].expand(-1, -1, 8, 8)), (
        "the same all over a frame"
    )
    made.decode_latents(latents).square().mean().backward()
    for weight in (made.encoder[-1].weight.grad[8:], made.decoder[-2].weight.grad):
        assert weight.abs().amax((1, 2, 3)).min() > 0, "all of it can be learned"


def test_pixels_are_mixed_of_the_palette() -> None:
    codec = codec_of(channels=14, global_channels=6)
    latents = torch.randn(1, 14, 8, 8)
    latents[:, 8:] = latents[:, 8:, :1, :1]
    red, blue = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    latents[0, 8:] = (3 * (torch.stack([red, blue]) - 0.5)).flatten()[:, None, None]
    drawn = codec.decoder(latents[:, :8])[0]
    swapped = torch.cat([latents[:, :8], latents[:, 11:], latents[:, 8:11]], 1)
    found, other = ((codec.decode_latents(given)[0] + 1) / 2 for given in (latents, swapped))
    for y, x in ((0, 0), (13, 40), (63, 63)):
        share = drawn[:2, y, x].softmax(0)
        assert torch.allclose(
            found[:, y, x], (1 + drawn[2, y, x]) * (share[0] * red + share[1] * blue), atol=1e-5
        )
        moved = (1 + drawn[2, y, x]) * (share[0] * blue + share[1] * red)
        assert torch.allclose(other[:, y, x], moved, atol=1e-5), "and the palette moves nothing"


@pytest.mark.parametrize("looks", [8, -3, 9])
def test_a_palette_has_three_numbers_to_a_colour_and_leaves_room_for_places(looks: int) -> None:
    with pytest.raises(ShapeError, match="multiple of three"):
        ConvCodec(ConvCodecConfig(width=16, blocks=1, channels=9, global_channels=looks))


def test_a_look_can_be_what_one_cell_alone_tells() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1, channels=11, global_channels=3)).eval()
    features = torch.zeros(1, 14, 8, 8)
    features[0, 8, 2, 5], features[0, 11, 2, 5] = 4.0, 20.0
    codec.encoder = torch.nn.Identity()
    assert codec.encode_pixels(features)[0, 8].min() == pytest.approx(4.0, abs=1e-3), (
        "not a 64th of it"
    )
    features[0, 11] = 0.0
    assert codec.encode_pixels(features)[0, 8].max() == pytest.approx(4.0 / 64, abs=1e-3), (
        "looked for nowhere, it is the mean"
    )


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, refiner_channels=0)])
def test_a_wider_transformer_moves_as_before_and_copies_looks(config: StreamDiTConfig) -> None:
    model = StreamDiT(config).eval()
    wake(model)
    made = expand_model(model, 3)
    latents = torch.randn(2, 5, 11, 8, 8)
    times = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]]).expand(2, -1)
    prompts = Conditioning(
        tokens=torch.randn(1, 3, 384),
        mask=torch.ones(1, 3, dtype=torch.bool),
        pooled=torch.randn(1, 384),
        index=torch.zeros(2, 5, dtype=torch.long),
    )
    wide, narrow = (
        stream_view(
            part[:, :4],
            times[:, :4],
            part[:, 4:],
            times[:, 4:],
            causal=True,
            chunk_frames=1,
            limit=4,
        )
        for part in (latents, latents[:, :, :8])
    )
    new, old = made.predict_clean(wide, prompts)[0], model.predict_clean(narrow, prompts)[0]
    assert torch.allclose(new[:, :, :8], old, atol=1e-4)
    with torch.no_grad():
        made.global_predictor.out[1].bias[3] = -100.0  # nothing is named
    assert torch.equal(made.predict_clean(wide, prompts)[0][:, :, 8:], latents[:, 3:4, 8:]), (
        "as the frame before"
    )
    made.train()
    new.square().mean().backward()
    assert made.global_predictor.out[1].weight.grad.abs().sum() > 0, "until words are learned"
