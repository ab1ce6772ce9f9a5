"""The files of a bundle: weights read without trust, and a bundle written whole or not at all.

Takes: a folder and what ``config.json`` says of it.  Gives: tensors and networks.
Knows nothing of: what a world is.

``config.json`` names the other files by their hashes, so the bundle is what it says. A save first
writes the new files beside the old ones (``model.safetensors.new``), then replaces ``config.json``
in one move, then moves the new files into place. Wherever it is stopped, ``config.json`` and the
files with its hashes are the old bundle or the new one, and a reader takes the file that has the
hash. This holds when the process is killed or the disk is full. It does not hold for a power
failure, since the disk may write in another order, and a reader that reads while a save goes on may
find the old ``config.json`` and a new file: then it is told that a file is foreign, and reads
again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from streamdit_gym.bundle.config import all_file_names, check_config, read_config, read_content
from streamdit_gym.bundle.field_checks import AGAIN, CONFIG
from streamdit_gym.bundle.fields import FileEntry, without_nan
from streamdit_gym.bundle.phrase_storage import with_generator
from streamdit_gym.checks import shown
from streamdit_gym.errors import ArgumentError, BundleError, StorageError
from streamdit_gym.files import atomic_write, folder_lock, remove_parts, write_text, writing_to

NEW = ".new"  # ends the name of a file that has not been moved into place
FLOATS = frozenset({"F16", "BF16", "F32"})
COUNTS = frozenset({"I64"})
FLAGS = frozenset({"BOOL"})
REMEDY = "make room, or save to another folder; the bundle that was there is whole"


@dataclass(frozen=True)
class Layout:
    """What a tensor of a weights file must be.

    Attributes:
        shape: its sizes, None where any will do.
        types: which types it may have in the file, by safetensors' names.
    """

    shape: tuple[int | None, ...]
    types: frozenset[str] = FLOATS


def find_file(folder: Path, name: str, entry: FileEntry, beside: Sequence[Path] = ()) -> Path:
    """Return the file of a bundle that has the size and the hash that ``config.json`` says.

    Args:
        folder: the bundle.
        name: of the file.
        entry: its size and hash.
        beside: bundles that may hold the same file, so that it is stored once.

    Raises:
        BundleError: if it is missing, cut, or another one.
    """
    path, new = folder / name, folder / f"{name}{NEW}"
    try:
        for candidate in (path, new, *(other / name for other in beside)):
            if _has(candidate, entry):
                return candidate
        if not path.is_file():
            raise BundleError("a file of the bundle is missing", given=path, remedy=AGAIN)
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(
            "a file of the bundle cannot be read",
            given=f"{path}: {error}",
            remedy=AGAIN,
        ) from error
    if size != entry.bytes:
        raise BundleError(
            "a file of the bundle is cut",
            given=f"{path}: {size} bytes",
            allowed=f"{entry.bytes} bytes",
            remedy="get it again",
        )
    raise BundleError(
        "a file of the bundle is foreign",
        given=path,
        allowed=f"sha256 {entry.sha256[:12]}...",
        remedy="get it again",
    )


def read_tensors(path: Path, layouts: Mapping[str, Layout]) -> dict[str, Tensor]:
    """Return the tensors of a weights file, floats as float32, once its header fits.

    Raises:
        BundleError: if it cannot be read, holds other tensors, or numbers that are not finite,
            naming the tensor.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            problem = _misfit(file, layouts)
            tensors = {} if problem else {key: _in_memory(file.get_tensor(key)) for key in layouts}
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(
            "weights cannot be read",
            given=f"{path}: {error}",
            remedy=AGAIN,
        ) from error
    if problem:
        raise BundleError(f"weights do not fit {CONFIG}", given=f"{path}: {problem}", remedy=AGAIN)
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise BundleError(
                "weights are not finite",
                given=f"{path}: {key}",
                allowed="finite numbers",
                remedy=f"{AGAIN}, or train it again",
            )
    return tensors


def read_network(path: Path, make: Callable[[], nn.Module]) -> Any:
    """Return a network with the weights of a file; memory is asked for only once they fit.

    Args:
        path: the file.
        make: builds the network.

    Raises:
        BundleError: as `read_tensors`.
    """
    with torch.device("meta"):  # has shapes and no memory
        network = make()
    layouts = {}
    for key, value in network.state_dict().items():
        layouts[key] = Layout(tuple(value.shape), FLOATS if value.is_floating_point() else COUNTS)
    network.load_state_dict(read_tensors(path, layouts), assign=True)
    return network.eval().requires_grad_(False)


def read_optional_network(
    paths: Mapping[str, Path], part: str, config: Any, kind: Callable[[Any], nn.Module]
) -> Any:
    """Return a network that only some bundles have; None where this one lacks it.

    Args:
        paths: the bundle's files, by name.
        part: the network's name.
        config: of the network; None: there is none.
        kind: makes the network of its config.
    """
    if config is None:
        return None
    return read_network(paths[f"{part}.safetensors"], lambda: kind(config))


def check_writable(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Return tensors as a bundle stores them: on the CPU, floats in half precision if they fit in.

    Raises:
        ArgumentError: if one is not finite: such a bundle could not be loaded.
    """
    stored: dict[str, dict[str, Tensor]] = {}
    for part, state in tensors.items():
        stored[part] = {}
        for key, value in state.items():
            if not torch.isfinite(value).all():
                raise ArgumentError(
                    "these weights are not finite",
                    given=f"{part}: {key}",
                    allowed="finite numbers",
                    remedy="train again from an earlier checkpoint, with a smaller learning rate",
                )
            stored[part][key] = _halved(value)
    return stored


def write_bundle(
    folder: Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    content: Mapping[str, Any],
) -> None:
    """Write a bundle; one that is there already becomes the new one in one move.

    Files in the folder that are not a bundle's stay.

    Args:
        folder: where to.
        tensors: what each weights file holds.
        content: what ``config.json`` says, without the files.

    Raises:
        ArgumentError, BundleError: if the content cannot be used.
        StorageError: if it cannot be written; nothing has changed then.
        BusyError: if another process saves here.
    """
    stored = check_writable(tensors)
    with writing_to(folder, REMEDY), folder_lock(folder):
        remove_parts(folder)
        _settle(folder)
        files = {}
        try:
            for part, state in stored.items():
                files[f"{part}.safetensors"] = asdict(
                    _write_new(folder / f"{part}.safetensors{NEW}", state),
                )
            write_text(folder / CONFIG, config_text({**content, "files": files}))
        finally:
            _settle(folder)
        for name in set(all_file_names()) - set(files):
            (folder / name).unlink(missing_ok=True)


def update_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace the facts in a bundle's ``config.json`` in one move; weights and digest stay.

    Raises:
        ArgumentError: if the facts cannot be written as JSON.
        BundleError: if there is no bundle.
        StorageError: if it cannot be written; nothing has changed then.
        BusyError: if another process saves here.
    """
    with writing_to(folder, REMEDY), folder_lock(folder):
        remove_parts(folder)
        write_text(folder / CONFIG, config_text({**read_content(folder), "facts": facts}))


def config_text(content: Mapping[str, Any]) -> str:
    """Return the text of ``config.json``, with its digest.

    Raises:
        ArgumentError, BundleError: if it could not be read back.
    """
    try:
        text = json.dumps(
            {**content, "facts": without_nan(content["facts"])},
            indent=1,
            allow_nan=False,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            "this cannot be written as JSON",
            given=error,
            allowed="texts, finite numbers, True, False, None, lists and dictionaries of them",
            remedy="change the world's facts or spec",
        ) from error
    written = json.loads(text)
    digest = check_config(written).digest
    signed = {**with_generator(written), "digest": digest}
    return json.dumps(signed, indent=1) + "\n"


def _write_new(path: Path, state: Mapping[str, Tensor]) -> FileEntry:
    with atomic_write(path) as part:
        try:
            save_file(dict(state), str(part))
        except SafetensorError as error:  # what it makes of the system's errors
            raise StorageError(
                "cannot write",
                given=f"{path.parent}: {error}",
                remedy=REMEDY,
            ) from error
    return FileEntry(bytes=path.stat().st_size, sha256=_hash(path))


def _settle(folder: Path) -> None:
    """Move the new files into place that ``config.json`` names, and remove other new ones."""
    if not list(folder.glob(f"*{NEW}")):
        return
    try:
        files = read_config(folder).files
    except BundleError:  # there has been no bundle here
        files = {}
    for name, entry in files.items():
        new = folder / f"{name}{NEW}"
        if _has(new, entry):
            os.replace(new, folder / name)
    _remove_new(folder)


def _remove_new(folder: Path) -> None:
    for name in all_file_names():
        (folder / f"{name}{NEW}").unlink(missing_ok=True)


def _misfit(file: Any, layouts: Mapping[str, Layout]) -> str:
    """Return how a file's header differs from what is wanted; empty if it does not."""
    others = sorted(set(file.keys()) ^ set(layouts))
    if others:
        key = others[0]
        return f"{key} is missing" if key in layouts else f"{shown(key)} does not belong here"
    for key, layout in layouts.items():
        tensor = file.get_slice(key)
        shape = tuple(tensor.get_shape())
        if not _fits(shape, layout.shape):
            wanted = tuple("any" if size is None else size for size in layout.shape)
            return f"{key} has the shape {shape}, not {wanted}"
        if tensor.get_dtype() not in layout.types:
            allowed = " or ".join(sorted(layout.types))
            return f"{key} has the type {tensor.get_dtype()}, not {allowed}"
    return ""


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(size in (actual, None) for size, actual in zip(wanted, shape, strict=True))


def _in_memory(tensor: Tensor) -> Tensor:
    """Return a copy that does not hang on the file: floats as float32, flags as 0 or 1."""
    if tensor.is_floating_point():
        return tensor.to(torch.float32, copy=True)
    return tensor.view(torch.uint8) != 0 if tensor.dtype == torch.bool else tensor.clone()


def _halved(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    return half if torch.isfinite(half).all() else tensor.float()  # above 65504


def _has(path: Path, entry: FileEntry) -> bool:
    """Return whether a file is there, with the size and the hash that ``config.json`` says."""
    if not path.is_file() or path.stat().st_size != entry.bytes:
        return False
    return _hash(path) == entry.sha256


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
