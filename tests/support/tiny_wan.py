"""Tiny Wan models with random weights: the classes are those of the open models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from streamdit_gym.open_weights.open_prompts import OpenPrompts
from streamdit_gym.open_weights.open_streams import OpenModel
from streamdit_gym.open_weights.wan_backbone import WanBackbone
from streamdit_gym.open_weights.wan_codec import WanCodec
from streamdit_gym.stream.partition import Partition

TEXT_WIDTH = 32
TEXT_LENGTH = 8
GRID = (4, 6)
SIZES = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": TEXT_WIDTH,
    "freq_dim": 256,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 32,
}


def diffusers() -> Any:
    """Return the package, or skip the test."""
    return pytest.importorskip("diffusers", reason="needs the extra open")


def make_transformer(kind: str = "WanTransformer3DModel", **sizes: Any) -> Any:
    """Return a tiny transformer; equal ones of both kinds have equal weights."""
    torch.manual_seed(0)
    model = getattr(diffusers(), kind)(**{**SIZES, **sizes})
    generator = torch.Generator().manual_seed(1)
    for _, weight in sorted(model.named_parameters()):
        if weight.ndim > 1:
            weight.data = 0.15 * torch.randn(weight.shape, generator=generator)
    return model.eval().requires_grad_(False)


def make_autoencoder() -> Any:
    """Return a tiny autoencoder: 8 pixels and 4 frames to a latent."""
    torch.manual_seed(0)
    sizes = {"base_dim": 3, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    model = diffusers().AutoencoderKLWan(**sizes, temperal_downsample=[False, True, True])
    return model.eval().requires_grad_(False)


def embed(texts: Sequence[str]) -> list[torch.Tensor]:
    """Return embeddings that depend on the words: one token for each."""
    embedded = []
    for text in texts:
        words = text.split()
        seeds = [sum(ord(letter) * 31**place for place, letter in enumerate(w)) for w in words]
        rows = [
            torch.randn(TEXT_WIDTH, generator=torch.Generator().manual_seed(seed % 2**31))
            for seed in seeds
        ]
        embedded.append(torch.stack(rows))
    return embedded


def make_backbone(kind: str = "WanTransformer3DModel", **settings: Any) -> WanBackbone:
    """Return the engine's model around a tiny transformer."""
    no_prompt = torch.zeros(TEXT_LENGTH, TEXT_WIDTH)
    no_prompt[:2] = embed(["dull blurred"])[0]
    options: dict[str, Any] = {"grid": GRID, "references": 4, **settings}
    sizes = {name: options.pop(name) for name in ("inject_sample_info",) if name in options}
    return WanBackbone(make_transformer(kind, **sizes), no_prompt, **options).eval()


def make_prompts() -> OpenPrompts:
    """Return a table of sentences."""
    return OpenPrompts(embed, TEXT_LENGTH, "a still lake")


def make_model(partition: str = "K2N2c1s2", **settings: Any) -> OpenModel:
    """Return a tiny open model."""
    return OpenModel(
        backbone=make_backbone(**settings),
        codec=WanCodec(make_autoencoder()),
        prompts=make_prompts(),
        partition=Partition.parse(partition),
        clip_steps=3,
    )


def write_folder(folder: Path, kind: str = "WanTransformer3DModel") -> Path:
    """Write a tiny model in diffusers' layout, with a tokenizer of a few words."""
    import tokenizers
    import transformers

    make_transformer(kind).save_pretrained(folder / "transformer")
    make_autoencoder().save_pretrained(folder / "vae")
    torch.manual_seed(0)
    sizes = {"d_model": TEXT_WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = transformers.UMT5Config(vocab_size=64, **sizes)
    transformers.UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    words = ["<pad>", "</s>", "<unk>", "a", "cat", "runs", "rain", "falls", "fire", "burns"]
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    end = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.post_processor = end
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder / "tokenizer")
    index = {
        "_class_name": "WanPipeline",
        "transformer": ["diffusers", kind],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
