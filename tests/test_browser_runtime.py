"""The runtime of exported pages: downloaded once, and only if it is the right one."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from support.static_site import serving_folder

from streamdit_gym.errors import ArgumentError
from streamdit_gym.export import browser_runtime
from streamdit_gym.export.browser_runtime import (
    FILES,
    PACKAGE,
    VERSION,
    DownloadError,
    cached_runtime,
    copy_runtime,
    package_address,
)

ARCHIVE = Path(PACKAGE) / "-" / f"{PACKAGE}-{VERSION}.tgz"


def write_package(folder: Path) -> str:
    """Write a package as a registry has it, with a file that leads out; return its hash."""
    path = folder / ARCHIVE
    path.parent.mkdir(parents=True)
    names = [f"package/dist/{name}" for name in FILES]
    with tarfile.open(path, "w:gz") as archive:
        for name in [*names, "package/package.json", "../outside", "package/dist/ort.all.js"]:
            content = name.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def test_the_runtime_is_downloaded_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "registry"
    monkeypatch.setattr(browser_runtime, "SHA512", write_package(registry))
    with serving_folder(registry) as address:
        monkeypatch.setenv("npm_config_registry", address)
        folder = cached_runtime()
    assert {path.name for path in folder.iterdir()} == {*FILES, "package.json"}
    assert cached_runtime() == folder  # without the registry
    copy_runtime(tmp_path / "runtime")
    assert (tmp_path / "runtime" / FILES[0]).read_text() == f"package/dist/{FILES[0]}"


def test_another_package_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "registry")
    with serving_folder(tmp_path / "registry") as address:
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(DownloadError, match="another hash"):
            cached_runtime()
    assert list(cache.rglob("*.mjs")) == []


def test_a_package_that_is_too_large_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_runtime, "SHA512", write_package(tmp_path / "registry"))
    monkeypatch.setattr(browser_runtime, "MAX_BYTES", 10)
    with serving_folder(tmp_path / "registry") as address:
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(DownloadError, match="more than 10 bytes"):
            cached_runtime()


def test_without_a_connection_the_error_says_what_to_do(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_folder(tmp_path) as address:
        monkeypatch.setenv("npm_config_registry", address)
    with pytest.raises(DownloadError, match=r"--set runtime=FOLDER"):
        cached_runtime()


def test_the_registry_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(ArgumentError, match="is no address"):
        package_address()
    monkeypatch.delenv("npm_config_registry")
    assert package_address().startswith("https://")


def test_a_folder_without_the_runtime_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"without ort\.wasm"):
        copy_runtime(tmp_path / "runtime", tmp_path)
    assert not (tmp_path / "runtime").exists()


def test_a_folder_with_the_runtime_is_taken(tmp_path: Path) -> None:
    source = tmp_path / "dist"
    source.mkdir()
    for name in FILES:
        (source / name).write_text(name)
    copy_runtime(tmp_path / "runtime", source)
    assert {path.name for path in (tmp_path / "runtime").iterdir()} == set(FILES)
