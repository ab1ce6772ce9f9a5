"""What must hold of a data set before hours are spent on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from streamdit_gym.actions import SpokenBox
from streamdit_gym.data.dataset import Dataset
from streamdit_gym.definition import WorldSpec, stored_size
from streamdit_gym.errors import DatasetError
from streamdit_gym.train import parallel
from streamdit_gym.train.phrases import BUNDLED_PHRASES_PER_ACTION, bundled_phrases

MAX_SHORT_SHARE = 0.9  # of the episodes, that may be too short to be learned from


def held_out_shards(dataset: Dataset) -> int:
    """Return how many of the last shards are never trained on."""
    return dataset.num_held_out_shards


def check_dataset(dataset: Dataset, spec: WorldSpec) -> None:
    """Refuse a data set that a world cannot be trained on.

    Raises:
        DatasetError: if it is of another world, or too small to hold anything out.
    """
    expected = {
        "world": spec.name,
        "size": stored_size(spec.frame_size),
        "state_names": list(spec.state_names),
        "score_names": list(spec.score_names),
    }
    for key, value in expected.items():
        if dataset.meta[key] != value:
            raise DatasetError(
                f"the data set is of another world: {key} differs",
                given=dataset.meta[key],
                allowed=value,
                remedy="record it for this world",
            )
    if dataset.num_generated_frames:
        raise DatasetError(
            "generated frames cannot be all that is learned",
            given=dataset.folder,
            allowed="recorded data",
            remedy="name it in the recipe's relabelled, beside --data",
        )
    if len(dataset) < 2:
        raise DatasetError(
            "too small a data set",
            given=f"{len(dataset)} shard",
            allowed="2 or more",
            remedy="record more; the last are held out",
        )


def check_length(dataset: Dataset, min_steps: int) -> None:
    """Refuse a data set of short episodes.

    Raises:
        DatasetError: if no episode to train on, or none that is held out, has so many steps, or an
            episode is a single frame.
    """
    lengths = [dataset.arrays(position)["lengths"] for position in range(len(dataset))]
    for position, of_shard in enumerate(lengths):
        if not of_shard.all():
            raise DatasetError(
                "an episode is a single frame",
                given=f"episode {int(of_shard.argmin())} of {dataset.shard_name(position)}",
                allowed="episodes of one step or more",
                remedy="leave it out, or record the data anew",
            )
    num_training = len(dataset) - held_out_shards(dataset)
    for part in (lengths[:num_training], lengths[num_training:]):
        steps = np.concatenate(part)
        if steps.max() < min_steps:
            raise _too_short(f"{steps.max()} steps", min_steps)
        short = (steps < min_steps).mean()
        if short > MAX_SHORT_SHARE:
            raise _too_short(f"{short:.0%} of the episodes are shorter", min_steps)


def _too_short(given: str, min_steps: int) -> DatasetError:
    return DatasetError(
        "too short episodes",
        given=given,
        allowed=f"{min_steps} steps or more",
        remedy="record longer ones, or let `dynamics.clip_frames` of the recipe be smaller",
    )


def check_actions(dataset: Dataset) -> None:
    """Refuse a data set that cannot show what some dimension of its actions does.

    Raises:
        DatasetError: if a dimension of a box has the same value in every step.
    """
    language = dataset.actions
    if not isinstance(language, SpokenBox):
        return
    lows, highs = [], []
    for position in range(len(dataset)):
        arrays = dataset.arrays(position)
        steps = np.arange(arrays["actions"].shape[1]) < arrays["lengths"][:, None]
        actions = arrays["actions"][steps]
        lows.append(actions.min(0))
        highs.append(actions.max(0))
    low = np.min(lows, axis=0)
    high = np.max(highs, axis=0)
    for name, least, most in zip(language.names, low, high, strict=True):
        if least == most:
            raise DatasetError(
                f"{name} never varies, so nothing can be learned of it",
                given=f"{least:g} in every step of {dataset.folder}",
                allowed="different values",
                remedy=f"leave {name} out of the actions, or record data in which it varies",
            )


def check_phrases(dataset: Dataset, spec: WorldSpec) -> None:
    """Refuse a data set without some phrase that the bundle shall hold.

    Raises:
        DatasetError: if one of these phrases is missing.
    """
    missing = set(bundled_phrases(spec)) - set(dataset.phrases)
    if missing:
        raise DatasetError(
            "the data set was recorded with another menu",
            given=f"nobody says {min(missing)!r} in {dataset.folder}",
            allowed=f"the {BUNDLED_PHRASES_PER_ACTION} first phrases of every action",
            remedy="record it anew, or put the phrases further back in the menu",
        )


def check_relabelled(relabelled: Dataset, dataset: Dataset) -> None:
    """Refuse relabelled frames that cannot be trained on together with a data set.

    Raises:
        DatasetError: if nothing in them is generated, or they are of another world, other phrases
            or another length.
    """
    remedy = "make them with streamdit-gym relabel, with the data set's --steps and today's menu"
    if not relabelled.num_generated_frames:
        raise DatasetError("these are no relabelled frames", given=relabelled.folder, remedy=remedy)
    for key in ("world", "steps", "phrases"):
        if relabelled.meta[key] != dataset.meta[key]:
            raise DatasetError(
                "relabelled frames of other data",
                given=f"another {key}",
                allowed=f"the {key} of {dataset.folder}",
                remedy=remedy,
            )


def check_shards(dataset: Dataset, latents: Path | None = None) -> None:
    """Read every shard of a data set; of several processes the first one does.

    Args:
        dataset: the data set.
        latents: folder of the shards' latents; shards that are encoded need no frames any more.

    Raises:
        DatasetError: if a file is missing or cut, or holds what cannot be learned from.
    """
    if parallel.rank():
        return
    positions = tqdm(range(len(dataset)), desc="check", unit="shard", mininterval=2.0, leave=False)
    for position in positions:
        if latents is None or not latents_path(latents, dataset, position).is_file():
            dataset.check_shard(position)


def latents_path(folder: Path, dataset: Dataset, position: int) -> Path:
    """Return where a shard's latents are kept."""
    return folder / f"latents-{dataset.shards[position]:05d}.npz"
