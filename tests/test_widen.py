"""More latent channels: the old ones do what they did, the new ones can be learned, and none gets lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import wake

from streamdit_gym.codec.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.errors import ShapeError
from streamdit_gym.model.streamdit import StreamDiT, StreamDiTConfig
from streamdit_gym.stream.views import stream_view
from streamdit_gym.train.widen import widened_codec, widened_model
from streamdit_gym.vocabulary import Conditioning

CONFIG = StreamDiTConfig(width=64, depth=2, heads=2, refine=16)


def test_a_wider_codec_encodes_and_decodes_as_before() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1)).eval()
    wake(codec)
    codec.normalise.running_mean.normal_()
    codec.normalise.running_var.uniform_(0.5, 2)
    made = widened_codec(codec, 12)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = made.encode_pixels(pixels)
    assert latents.shape == (2, 12, 8, 8)
    assert torch.allclose(latents[:, :8], codec.encode_pixels(pixels), atol=1e-5)
    assert latents[:, 8:].abs().amax((0, 2, 3)).min() > 0, "the new channels are filled"
    assert torch.allclose(made.decode_latents(latents), codec.decode_latents(latents[:, :8]), atol=1e-5)
    made.decode_latents(made.encode_pixels(pixels)).square().mean().backward()
    assert made.decoder[0].weight.grad[:, 8:].abs().amax((0, 2, 3)).min() > 0, "and can be learned"


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, refine=0)])
def test_a_wider_transformer_predicts_as_before_and_copies_the_new_channels(config: StreamDiTConfig) -> None:
    model = StreamDiT(config).eval()
    wake(model)
    made = widened_model(model, 11)
    latents = torch.randn(2, 5, 11, 8, 8)
    times = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]]).expand(2, -1)
    prompts = Conditioning(
        tokens=torch.randn(1, 3, 384), mask=torch.ones(1, 3, dtype=torch.bool), pooled=torch.randn(1, 384),
        index=torch.zeros(2, 5, dtype=torch.long),
    )  # fmt: skip
    wide, narrow = (
        stream_view(part[:, :4], times[:, :4], part[:, 4:], times[:, 4:], causal=True, chunk_frames=1, limit=4)
        for part in (latents, latents[:, :, :8])
    )
    new, old = made.predict_clean(wide, prompts)[0], model.predict_clean(narrow, prompts)[0]
    assert torch.allclose(new[:, :, :8], old, atol=1e-4)
    assert torch.allclose(new[:, :, 8:], latents[:, 3:4, 8:], atol=1e-5), "as the frame before"
    new.square().mean().backward()
    for name in ("embed", "final"):
        gradient = made.get_submodule(name).weight.grad
        assert (gradient.abs().sum(0 if name == "embed" else 1) > 0).all()


def test_no_fewer_channels() -> None:
    with pytest.raises(ShapeError, match="more than the world's 8"):
        widened_model(StreamDiT(CONFIG), 8)
    with pytest.raises(ShapeError, match="leave --channels out"):
        widened_codec(ConvCodec(ConvCodecConfig(width=16, blocks=1)), 4)
