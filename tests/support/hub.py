"""A stand-in for the Hub: what is pushed lies in its cache on this machine, and nowhere else."""

from __future__ import annotations

import hashlib
import inspect
import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants


class LocalHub:
    """The Hub's cache as `huggingface_hub` lays it out, written by its own calls of `HfApi`.

    A commit is a folder of links to blobs, named by a SHA-1 as git's; refs name commits; a list of
    files says what belongs to a commit.

    Args:
        cache: folder of the cache.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.private: dict[str, bool] = {}

    def folder(self, repository: str) -> Path:
        """Return the cache of a repository."""
        return self.cache / f"models--{repository.replace('/', '--')}"

    def head(self, repository: str, ref: str = "main") -> str:
        """Return the commit that a branch or tag names."""
        return (self.folder(repository) / "refs" / ref).read_text()

    def tag(self, repository: str, tag: str, commit: str) -> None:
        """Name a commit."""
        path = self.folder(repository) / "refs" / tag
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)

    def snapshot(self, repository: str, commit: str) -> Path:
        """Return the folder of a commit."""
        return self.folder(repository) / "snapshots" / commit

    def files(self, repository: str) -> dict[str, bytes]:
        """Return the files of the newest commit; none before the first one."""
        if not (self.folder(repository) / "refs" / "main").exists():
            return {}
        folder = self.snapshot(repository, self.head(repository))
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    def create_repo(self, *args: Any, **options: Any) -> None:
        """Do what `HfApi.create_repo` does."""
        given = _arguments("create_repo", args, options)
        assert given["exist_ok"] or given["repo_id"] not in self.private
        self.private[given["repo_id"]] = given["private"]

    def upload_folder(self, *args: Any, **options: Any) -> str:
        """Do what `HfApi.upload_folder` does: a new commit on the main branch."""
        given = _arguments("upload_folder", args, options)
        repository, source = given["repo_id"], Path(given["folder_path"])
        assert repository in self.private, "an upload to a repository that there is not"
        files = {
            name: data
            for name, data in self.files(repository).items()
            if not _matches(name, given["delete_patterns"])
        }
        for path in source.rglob("*"):
            name = str(path.relative_to(source))
            if path.is_file() and _matches(name, given["allow_patterns"]):
                files[name] = path.read_bytes()
        commit = self._commit(repository, files)
        return f"{constants.ENDPOINT}/{repository}/tree/main#{commit}"

    def _commit(self, repository: str, files: dict[str, bytes]) -> str:
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        entries = {}
        for name, data in files.items():
            blob = self.folder(repository) / "blobs" / hashlib.sha256(data).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(data)
            link = self.snapshot(repository, commit) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(blob)
            entries[name] = {"size": len(data), "blob_id": blob.name}
        tree = self.folder(repository) / "trees" / f"{commit}.json"
        tree.parent.mkdir(exist_ok=True)
        tree.write_text(json.dumps({"format_version": 1, "files": entries}))
        self.tag(repository, "main", commit)
        return commit


def _arguments(method: str, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments by name, as far as the real method takes them."""
    signature = inspect.signature(getattr(HfApi, method))
    bound = signature.bind(None, *args, **options)
    bound.apply_defaults()
    return bound.arguments


def _matches(name: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatch(name, pattern) for pattern in patterns)


def local_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """Return a hub in a folder; until the test ends huggingface_hub is offline and reads there."""
    hub = LocalHub(cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    return hub
