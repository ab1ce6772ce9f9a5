"""A reward for showing what a sentence says: CLIP's similarity of frames and text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional

from streamdit_gym.errors import require

CLIP = "openai/clip-vit-base-patch32"


class TextSimilarity:
    """The cosine of the newest frame's and a sentence's embedding, -1 to 1.

    Args:
        sentence: what the frames shall show.
        model: folder or Hub id of a CLIP model.
        device: where it runs.

    Raises:
        MissingExtraError: if transformers is not installed.
    """

    def __init__(self, sentence: str, model: str = CLIP, device: str = "cpu") -> None:
        transformers = require("transformers", "open", "a reward by CLIP")
        self._clip: Any = transformers.CLIPModel.from_pretrained(model).eval().to(device)
        self._processor = transformers.CLIPProcessor.from_pretrained(model)
        self._device = device
        words = self._processor(text=[sentence], return_tensors="pt", truncation=True).to(device)
        with torch.no_grad():
            self._sentence = _embedding(self._clip.get_text_features(**words))

    def __call__(self, frames: UInt8[np.ndarray, "f h w 3"], prompt: str) -> float:
        """Return the similarity of the newest frame, whatever it was prompted with."""
        pixels = self._processor(images=[frames[-1]], return_tensors="pt").to(self._device)
        with torch.no_grad():
            picture = _embedding(self._clip.get_image_features(**pixels))
        return float(functional.cosine_similarity(picture, self._sentence))


def _embedding(features: Any) -> torch.Tensor:
    """Return embeddings; newer versions of transformers wrap them."""
    return features if isinstance(features, torch.Tensor) else features.pooler_output
