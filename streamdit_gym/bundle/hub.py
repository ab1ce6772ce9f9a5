"""Bundles on the Hugging Face Hub.

Takes: ids ``user/repository``, or ``user/repository@revision``.  Gives: folders of bundles.
Knows nothing of: what is in a bundle beside the names of its files.

Only a bundle's own files are uploaded and downloaded, whatever else lies in the folder or the
repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from streamdit_gym.bundle.config import all_file_names
from streamdit_gym.bundle.field_checks import CONFIG
from streamdit_gym.checks import check_str, shown
from streamdit_gym.errors import ArgumentError, MissingExtraError, StorageError, UnknownNameError

CARD = "README.md"
REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
HUB_ID = re.compile(rf"({REPOSITORY})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")


class HubId(NamedTuple):
    """Where a bundle lies on the Hub; `revision` is a branch, tag or commit, None: the newest."""

    repository: str
    revision: str | None


def parse_hub_id(text: str) -> HubId | None:
    """Return the parts of a Hub id; None if the text is none."""
    match = HUB_ID.fullmatch(text)
    return None if match is None else HubId(match[1], match[2])


def download_bundle(place: HubId) -> Path:
    """Return the folder of a bundle from the Hub, or from its cache on this machine.

    Raises:
        MissingExtraError: if huggingface_hub is not installed.
        UnknownNameError: if the Hub does not give it.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "hub", "a world from the Hub") from error
    try:
        folder = snapshot_download(
            place.repository, revision=place.revision, allow_patterns=_file_names()
        )
    except Exception as error:
        raise _not_there(place, error) from error
    return Path(folder)


def upload_bundle(folder: Path, repository: str, private: bool, message: str) -> str:
    """Upload a bundle to a repository, which is created if there is none, and return its address.

    Weights files that the bundle does not have any more are removed there.

    Raises:
        MissingExtraError: if huggingface_hub is not installed.
        StorageError: if the Hub does not take it.
    """
    api = _api()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(
            api.upload_folder(
                repo_id=repository,
                folder_path=str(folder),
                allow_patterns=_file_names(),
                delete_patterns=all_file_names(),
                commit_message=message,
            )
        )
    except Exception as error:
        raise StorageError(
            "the Hub did not take the world",
            given=f"{repository}: {type(error).__name__}: {error}",
            allowed="a repository that you may write to",
            remedy=f"log in with `hf auth login`; the bundle is whole in {folder}",
        ) from error


def check_repository(text: Any) -> str:
    """Return the id of a repository to upload to, once it can be one and the Hub can be asked.

    Raises:
        ArgumentError: if it is none, or has a revision.
        MissingExtraError: if huggingface_hub is not installed.
    """
    place = parse_hub_id(check_str("repo_id", text))
    if place is None or place.revision is not None:
        raise ArgumentError(
            "this is no repository of the Hub",
            given=shown(text),
            allowed="user/repository",
            remedy="push_to_hub('user/my-world', folder=...)",
        )
    _api()
    return place.repository


def _api() -> Any:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError("huggingface-hub", "hub", "push_to_hub") from error
    return HfApi()


def _file_names() -> list[str]:
    return [CONFIG, CARD, *all_file_names()]


def _not_there(place: HubId, error: Exception) -> UnknownNameError:
    """Return the error for what the Hub does not give."""
    cached = _cached_revisions(place.repository)
    is_unknown = type(error).__name__ == "RevisionNotFoundError"
    if place.revision is not None and place.revision not in cached and (is_unknown or cached):
        return UnknownNameError(
            "revision",
            place.revision,
            cached,
            remedy=f"the Hub answered: {error}",
            problem=f"{place.repository} has no such revision, on the Hub or on this machine",
        )
    return UnknownNameError(
        "world",
        place.repository,
        [],
        remedy=f"the Hub answered: {error}",
        problem="the Hub does not give this world",
    )


def _cached_revisions(repository: str) -> list[str]:
    """Return the branches, tags and commits of a repository that lie in the Hub's cache here."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    refs = [path for path in (folder / "refs").rglob("*") if path.is_file()]
    names = [str(path.relative_to(folder / "refs")) for path in refs]
    return names + [path.name for path in (folder / "snapshots").glob("*")]
