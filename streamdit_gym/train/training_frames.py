"""The frames that an autoencoder learns from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int, UInt8

from streamdit_gym.data.dataset import Dataset
from streamdit_gym.model.conv_codec import ConvCodec
from streamdit_gym.train.dataset_checks import held_out_shards
from streamdit_gym.train.stage_context import StageContext, has_global_channels


@dataclass(frozen=True, kw_only=True)
class AlignedFrames:
    """The same scenes as another autoencoder knows them.

    Attributes:
        plain: the frames that are trained on, in the colours that it knows.
        codec: that autoencoder. Its spatial channels of the plain frames are what the new one's
            shall be for all colours. Frames are rebuilt from them, so that no colour can hide
            there.
    """

    plain: UInt8[np.ndarray, "e f h w 3"]
    codec: ConvCodec


@dataclass(frozen=True, kw_only=True)
class TrainingFrames:
    """What an autoencoder learns from.

    Attributes:
        episodes: training frames, three or more in a row.
        held_out: frames for the curves and pictures.
        lengths: frames of each episode, behind which are copies of its last one; None: all.
        aligned: the same scenes as another autoencoder knows them, to stay aligned with it.
    """

    episodes: UInt8[np.ndarray, "e f h w 3"]
    held_out: UInt8[np.ndarray, "m h w 3"]
    lengths: Int[np.ndarray, " e"] | None = None
    aligned: AlignedFrames | None = None

    def spaced(self, count: int) -> UInt8[np.ndarray, "n h w 3"]:
        """Return at least so many training frames, evenly spaced, or all if there are fewer.

        Copies behind an episode's last frame are left out.
        """
        num_episodes, num_frames = self.episodes.shape[:2]
        lengths = np.full(num_episodes, num_frames) if self.lengths is None else self.lengths
        is_recorded = np.arange(num_frames) < lengths[:, None]
        episode, place = np.nonzero(is_recorded)
        spacing = max(1, len(episode) // count)
        return self.episodes[episode[::spacing], place[::spacing]]


def num_training_shards(dataset: Dataset, max_frames: int) -> int:
    """Return how many shards an autoencoder is trained on: none that is held out."""
    frames_per_episode = dataset.meta["steps"] + 1
    frames_per_shard = dataset.meta["episodes"] * frames_per_episode
    fitting = max_frames // frames_per_shard
    not_held_out = len(dataset) - held_out_shards(dataset)
    return max(1, min(not_held_out, fitting))


def load_frames(dataset: Dataset, num_shards: int) -> TrainingFrames:
    """Return the frames of the first shards, and held-out ones."""
    last_shard = len(dataset) - 1
    held_out = dataset.shard(last_shard).frames
    held_out = np.concatenate(list(held_out))
    shards = [dataset.shard(position) for position in range(num_shards)]
    episodes = np.concatenate([shard.frames for shard in shards])
    lengths = np.concatenate([shard.lengths for shard in shards]) + 1
    return TrainingFrames(episodes=episodes, held_out=held_out, lengths=lengths)


def training_frames(context: StageContext, codec: ConvCodec, max_frames: int) -> TrainingFrames:
    """Return what a run's autoencoder learns from.

    Args:
        context: of the training.
        codec: the autoencoder.
        max_frames: most frames kept in memory.
    """
    dataset = context.inputs.dataset
    num_shards = num_training_shards(dataset, max_frames)
    frames = load_frames(dataset, num_shards)
    base_world = context.base_world
    adapts = context.adapts_autoencoder and has_global_channels(codec)
    if base_world is None or not adapts:
        return frames
    aligned = AlignedFrames(
        plain=np.concatenate([dataset.base_frames(i) for i in range(num_shards)]),
        codec=copy.deepcopy(base_world.codec).to(context.device),
    )
    return replace(frames, aligned=aligned)
