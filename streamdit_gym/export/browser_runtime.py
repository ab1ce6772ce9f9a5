"""The runtime of the page: onnxruntime-web, of one version, from the npm registry.

It is downloaded once, compared with its hash, and kept in the user's cache.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from streamdit_gym.errors import ArgumentError, StreamDiTError
from streamdit_gym.files import replace_folder

VERSION = "1.30.0"
PACKAGE = "onnxruntime-web"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
REGISTRY = "https://registry.npmjs.org"  # unless npm's own variable names another
REGISTRY_VARIABLE = "npm_config_registry"
MAX_BYTES = 200 * 2**20  # of the package; it has 33 MB
TIMEOUT_S = 60.0
CHUNK = 1 << 20
# what the page asks for: each backend's module, and the WebAssembly behind it
FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
MEMBERS = {f"package/dist/{name}": name for name in FILES} | {
    "package/package.json": "package.json"
}


class DownloadError(StreamDiTError, RuntimeError):
    """A package that cannot be downloaded, or that is not the one it should be."""


def copy_runtime(folder: Path, source: Path | None = None) -> None:
    """Copy the runtime into a folder.

    Args:
        folder: the folder; it is made.
        source: a folder that has the runtime's files, such as
            ``node_modules/onnxruntime-web/dist``; None: the user's cache, filled by a download.

    Raises:
        ArgumentError: if a file is not in the source.
        DownloadError: if the package cannot be downloaded, or its hash is another.
    """
    if source is None:
        source = cached_runtime()
    missing = [name for name in FILES if not (source / name).is_file()]
    if missing:
        raise ArgumentError(
            "a folder does not have the runtime of the page",
            given=f"{source}, without {missing[0]}",
            allowed=f"the folder dist of {PACKAGE} {VERSION}",
            remedy=f"npm pack {PACKAGE}@{VERSION} downloads it; or leave out runtime=",
        )
    folder.mkdir()
    for name in set(MEMBERS.values()):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def cached_runtime() -> Path:
    """Return the folder of the runtime in the user's cache; it is downloaded if it is not there.

    Raises:
        DownloadError: as `copy_runtime`.
    """
    folder = cache_folder() / f"{PACKAGE}-{VERSION}"
    if all((folder / name).is_file() for name in FILES):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "package.tgz"
        _download(package_address(), package)
        with replace_folder(folder) as fresh:
            _unpack(package, fresh)
    return folder


def cache_folder() -> Path:
    """Return the folder in which downloads of this project are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "streamdit_gym"


def package_address() -> str:
    """Return where the package lies: in npm's registry, or in the one that npm is told to use."""
    registry = os.environ.get(REGISTRY_VARIABLE) or REGISTRY
    if not registry.startswith(("http://", "https://")):
        raise ArgumentError(
            f"the variable {REGISTRY_VARIABLE} is no address",
            given=repr(registry),
            allowed="https://...",
            remedy="unset it",
        )
    return f"{registry.rstrip('/')}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"


def _download(address: str, path: Path) -> None:
    """Download the package, and compare it with its hash."""
    digest = hashlib.sha512()
    size = 0
    try:
        with (
            urllib.request.urlopen(address, timeout=TIMEOUT_S) as response,
            path.open("wb") as file,
        ):
            while block := response.read(CHUNK):
                size += len(block)
                if size > MAX_BYTES:
                    raise _refused(address, f"more than {MAX_BYTES} bytes")
                digest.update(block)
                file.write(block)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise DownloadError(
            f"cannot download {PACKAGE}, the runtime of the page",
            given=f"{address}: {error}",
            allowed="a connection to the npm registry, once",
            remedy=f"or npm pack {PACKAGE}@{VERSION} elsewhere, and --set runtime=FOLDER",
        ) from error
    if base64.b64encode(digest.digest()).decode() != SHA512:
        raise _refused(address, "another hash")


def _refused(address: str, why: str) -> DownloadError:
    return DownloadError(
        f"what was downloaded is not {PACKAGE} {VERSION}",
        given=f"{address}: {why}",
        allowed=f"sha512-{SHA512}",
        remedy="use another registry, or --set runtime=FOLDER",
    )


def _unpack(package: Path, folder: Path) -> None:
    """Unpack the files that a page needs, and no others."""
    with tarfile.open(package) as archive:
        for member in archive:
            name = MEMBERS.get(member.name)
            content = archive.extractfile(member) if name and member.isfile() else None
            if name is None or content is None:
                continue
            with content, (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)
