"""How far a model's second prediction of a frame is from its first."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from streamdit_gym.stream.sampler import Sampler
from streamdit_gym.stream.session import Session

SECOND_PREDICTION_TIME = 0.75  # noise level to which a finished chunk is taken back
NOISE_SEED = 0


def second_prediction_error(sampler: Sampler, session: Session) -> Float[Tensor, " b"]:
    """Return the root mean square, over spatial channels, between two predictions of a chunk.

    Every stream's newest chunk gets noise and is predicted once more, with the same references and
    prompt. Where the model is sure, the chunk comes out as it was. The streams and their noise do
    not change; the second prediction gets noise whatever the model's temperature.
    """
    config = sampler.model.config
    chunk = sampler.partition.chunk_frames
    newest = session.references[:, -chunk:]
    generator = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(
        newest.shape[1:],
        generator=generator,
        dtype=torch.float32,
    )
    noise = noise.to(newest).expand_as(newest)
    again = sampler.predict_newest(session, noise, SECOND_PREDICTION_TIME)
    difference = again - newest
    spatial = difference[:, :, : config.spatial_channels]
    mean_square = spatial.square().mean((1, 2, 3, 4))
    return mean_square.sqrt()
