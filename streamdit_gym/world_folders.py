"""Where a world's bundle lies: in the package, in a folder, in a run folder, or on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamdit_gym.bundle.config import check_pinned
from streamdit_gym.bundle.field_checks import CONFIG
from streamdit_gym.bundle.hub import HubId, download_bundle, parse_hub_id
from streamdit_gym.checks import check_sha256, check_str, shown
from streamdit_gym.errors import ArgumentError, BundleError, UnknownNameError
from streamdit_gym.registry import find_definition

SHIPPED = Path(__file__).resolve().parent / "worlds"
RECORDINGS = Path("recorded")  # data sets, by the name of their world
RUNS = Path("runs")  # trainings, by the name of their world
BUNDLE = "world"  # folder of the bundle in a training's
MAX_NAME_CHARS = 4096
OPEN_MODEL_PREFIX = "wan:"  # of open video models, which are no worlds


def shipped_worlds() -> list[str]:
    """Return the names of the worlds in the package."""
    return sorted(p.name for p in SHIPPED.glob("*") if (p / CONFIG).is_file())


def bundles_beside(folder: Path) -> list[Path]:
    """Return the bundles that may hold files of a shipped one; none for a bundle elsewhere.

    What two shipped worlds have in common, such as an autoencoder, is in the package once.
    """
    if folder.resolve().parent != SHIPPED:
        return []
    return [SHIPPED / name for name in shipped_worlds() if name != folder.name]


def recorded_folder(world: str) -> Path:
    """Return the folder in which `record` puts a world's data set, unless told otherwise."""
    return RECORDINGS / world


def run_folder(world: str) -> Path:
    """Return the folder in which `train` works on a world, unless told otherwise."""
    return RUNS / world


def find_world(name: str | Path, revision: str | None = None, digest: str | None = None) -> Path:
    """Return the folder of a world's bundle.

    Of a Hub repository only a bundle's own files are downloaded.

    Args:
        name: the first that there is of a shipped name, a folder, a registered name whose
            definition says where its ``weights`` are, a name that ``train`` has written
            ``runs/NAME/world`` for, and a Hub id ``user/repository`` or
            ``user/repository@revision``. A shipped name given as a text means the shipped world,
            also where a folder has that name: say ``"./PushT"`` for the folder.
        revision: branch, tag or commit of a Hub repository.
        digest: SHA-256 that the bundle must have, as `World.digest` tells it; None: any, or the
            definition's ``weights_digest``.

    Raises:
        ArgumentError: if an argument is of the wrong type, or the name is an open video model's.
        UnknownNameError: if there is no such world or revision, or it is not trained yet.
        BundleError: if the name is that of a file, or the bundle has another digest.
    """
    text = _check_name(name)
    if revision is not None and not check_str("revision", revision):
        raise ArgumentError(
            "revision is empty",
            given="''",
            allowed="a branch, tag or commit",
            remedy="leave it out",
        )
    expected = None if digest is None else check_sha256("digest", digest)
    folder = _find_any(text, name, revision)
    if expected is not None:
        check_pinned(folder, expected)
    return folder


def _find_any(text: str, name: str | Path, revision: str | None) -> Path:
    """Return the folder of a bundle whose digest does not matter, unless its definition says so."""
    folder = _local_world(text, name)
    definition = find_definition(text)
    if definition is not None and definition.weights not in (None, text):
        digest = definition.weights_digest
        if folder is None:
            return find_world(definition.weights, revision, digest)
        if digest is not None and not isinstance(name, Path) and folder.parent != SHIPPED:
            check_pinned(folder, digest)  # it lies in the working folder, and has this name
    if folder is None:
        folder = _trained_world(text)
    place = parse_hub_id(text)
    if folder is None and place is not None:
        return download_bundle(_with_revision(place, revision))
    if folder is None:
        raise _unknown(text)
    if revision is not None:
        raise ArgumentError(
            "only a world from the Hub has a revision",
            given=f"revision={shown(revision)} of {shown(str(folder))}",
            allowed="None",
            remedy="leave it out",
        )
    return folder


def _with_revision(place: HubId, revision: str | None) -> HubId:
    """Return a place on the Hub at the revision of an argument, if there is one."""
    if revision is None:
        return place
    if place.revision not in (None, revision):
        raise ArgumentError(
            "two revisions",
            given=f"{place.repository}@{place.revision}, revision={shown(revision)}",
            allowed="one of them",
            remedy="leave the argument out",
        )
    return place._replace(revision=revision)


def _check_name(name: Any) -> str:
    text = check_str("world", str(name) if isinstance(name, Path) else name)
    if not text.strip() or "\0" in text or len(text) > MAX_NAME_CHARS:
        raise ArgumentError(
            "this is no name of a world",
            given=shown(text),
            allowed="a shipped name, a folder or a Hub id user/repository",
            remedy=f"shipped are: {', '.join(shipped_worlds())}",
        )
    if text.startswith(OPEN_MODEL_PREFIX):
        raise ArgumentError(
            "an open video model is no world",
            given=shown(text),
            allowed="streamdit_gym.load_open_model; the commands play, generate and doctor;"
            " the environment StreamDiT/Open-v0",
            remedy=f"streamdit_gym.load_open_model({text!r}), see docs/guides/open_weights.md",
        )
    return text


def _local_world(text: str, name: str | Path) -> Path | None:
    """Return the folder of a world on this machine, None if there is none of that name."""
    path = Path(text)
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except OSError as error:
        raise BundleError(
            "not a world bundle",
            given=f"{shown(text)}: {error}",
            remedy="check the path",
        ) from error
    if text in shipped_worlds() and not (isinstance(name, Path) and is_folder):
        return SHIPPED / text
    if exists and not is_folder:
        raise BundleError(
            "not a world bundle",
            given=f"{text}, a file",
            allowed=f"a folder with {CONFIG}",
            remedy="give its folder",
        )
    return path if is_folder else None


def _trained_world(text: str) -> Path | None:
    """Return the bundle that `train` wrote for a world of this name."""
    folder = run_folder(text) / BUNDLE
    is_name = Path(text).name == text
    return folder if is_name and (folder / CONFIG).is_file() else None


def _unknown(text: str) -> UnknownNameError:
    if find_definition(text) is not None:
        return UnknownNameError(
            "world",
            text,
            [],
            remedy=f"train it, `streamdit-gym train {text}`, or say where its `weights` are",
            problem=f"the world {text} is not trained yet",
        )
    return UnknownNameError(
        "world",
        text,
        shipped_worlds(),
        remedy="give a shipped or registered name, a folder or a Hub id user/repository",
    )
