"""Recordings become a data set, once: read, resized, resampled, and cut into equal shards.

Every episode is kept in a file of its own as soon as it is read, so that a call that was stopped
goes on. When all are there they become shards, and ``meta.json`` is written last: before that the
folder is no data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from streamdit_gym.data.dataset import Dataset, read_meta
from streamdit_gym.data.episode import stack_episodes
from streamdit_gym.data.imports.episode_pieces import Piece, cut_episodes, episodes_per_shard
from streamdit_gym.data.imports.episode_store import EpisodeStore
from streamdit_gym.data.imports.open_recordings import open_recordings
from streamdit_gym.data.imports.recorded_world import (
    IMPORT,
    TASK,
    imported_spec,
    recorded_task,
    stored_tasks,
)
from streamdit_gym.data.imports.recordings import (
    ImportSettings,
    Recordings,
    UnreadableEpisodeError,
)
from streamdit_gym.data.recorder import write_meta
from streamdit_gym.definition import WorldSpec
from streamdit_gym.errors import DatasetError, StreamDiTError
from streamdit_gym.files import folder_lock, remove_parts, writing_to

AGAIN = "make room, or choose another folder, and run the same command again; it goes on"
EPISODES_FOLDER = "imported"  # of episodes that have no shard yet
META = "meta.json"
MAX_SHOWN = 20
MAX_REASONS = 3
MIN_PIECES = 2


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What became of recordings; ``meta.json`` holds it.

    Attributes:
        format: ``lerobot``, ``minari`` or ``videos``.
        num_found: episodes of the recordings.
        num_read: those that could be read.
        num_steps: steps of these, at the data set's rate.
        num_left_over: pieces of episodes that filled no shard.
        skipped: why an episode was left out, by its name.
        notes: what was left out or assumed of all episodes.
        captions: what the recordings say that they are about.
    """

    format: str
    num_found: int
    num_read: int
    num_steps: int
    num_left_over: int
    skipped: dict[str, str]
    notes: tuple[str, ...]
    captions: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report for people."""
        lines = [
            f"{self.num_read:,} of {self.num_found:,} episodes ({self.format}), "
            f"{self.num_steps:,} steps"
        ]
        lines += [f"  {note}" for note in self.notes]
        reasons = [f"  skipped {name}: {reason}" for name, reason in self.skipped.items()]
        lines += reasons[:MAX_SHOWN]
        if len(reasons) > MAX_SHOWN:
            lines.append(f"  and {len(reasons) - MAX_SHOWN} more: see {META}")
        if self.num_left_over:
            lines.append(f"  {self.num_left_over} pieces are left over: shards are of one size")
        return lines


def import_recordings(
    folder: Path, name: str, target: Path, settings: ImportSettings
) -> ImportReport:
    """Make a data set of recordings, and show a progress bar; nothing is done if it is there.

    Safe to stop at any moment and to call again.

    Args:
        folder: LeRobot or Minari data set, or videos with a caption file.
        name: of the world.
        target: the data set.
        settings: how they are read.

    Raises:
        DatasetError: if the recordings cannot be read as a whole, nothing in them can, or
            something else is in the target.
        DefinitionError: if they cannot become a world, such as by its name.
        BusyError: if another process works in the target.
        StorageError: if the target cannot be written to.
    """
    origin = {"content": _fingerprint(folder), "settings": settings.stored()}
    if (target / META).is_file():
        return _existing_report(target, name, origin)
    recordings = open_recordings(folder, settings)
    spec = imported_spec(name, recordings.description, settings.frame_size)
    with writing_to(target, AGAIN), _locked_folder(target):
        remove_parts(target)
        store = EpisodeStore(target / EPISODES_FOLDER, spec, origin)
        try:
            lengths, skipped = _read_episodes(recordings, store, name)
            pieces = cut_episodes(lengths, settings.steps)
            _check_enough(pieces, skipped, folder)
            per_shard = episodes_per_shard(len(pieces))
            report = _report(recordings, lengths, skipped, len(pieces) % per_shard)
            longest = max(lengths.values())
            spec = _with_horizon(spec, longest)
            shape = {"episodes": per_shard, "steps": max(piece.steps for piece in pieces)}
            _write_shards(spec, store, pieces, shape, target)
        except StreamDiTError:
            store.remove()
            raise
        imported = {**origin, **asdict(report), "tasks": stored_tasks(spec)}
        write_meta(target, spec, {"seed": 0, **shape, IMPORT: _as_json(imported)})
        store.remove()
    return report


def _read_episodes(
    recordings: Recordings, store: EpisodeStore, name: str
) -> tuple[dict[int, int], dict[str, str]]:
    """Keep every episode that can be read.

    Returns:
        The steps of each by its number, and why the others are left out, by their names.
    """
    lengths: dict[int, int] = {}
    skipped: dict[str, str] = {}
    names = recordings.description.episodes
    for number, episode in enumerate(tqdm(names, desc=f"import {name}", unit="episode")):
        length = store.length(number)
        if length is None:
            try:
                store.save(number, recordings.read(number))
            except UnreadableEpisodeError as error:
                skipped[episode] = str(error)
                continue
            length = store.length(number)
        assert length is not None
        lengths[number] = length
    return lengths, skipped


def _write_shards(
    spec: WorldSpec,
    store: EpisodeStore,
    pieces: list[Piece],
    shape: dict[str, int],
    target: Path,
) -> None:
    per_shard = shape["episodes"]
    num_shards = len(pieces) // per_shard
    for index in tqdm(range(num_shards), desc=f"write {spec.name}", unit="shard"):
        own = pieces[index * per_shard : (index + 1) * per_shard]
        episodes = [store.piece(piece) for piece in own]
        stack_episodes(spec, episodes, shape["steps"]).save(target, index)


def _check_enough(pieces: list[Piece], skipped: dict[str, str], folder: Path) -> None:
    if len(pieces) >= MIN_PIECES:
        return
    reasons = [f"{name}: {reason}" for name, reason in skipped.items()]
    listed = "; ".join(reasons[:MAX_REASONS]) or "no episode was skipped"
    raise DatasetError(
        "too few episodes can be read" if pieces else "no episode can be read",
        given=f"{folder}: {len(pieces)} of {len(pieces) + len(skipped)}; {listed}",
        allowed=f"{MIN_PIECES} or more, as the last ones are held out",
        remedy="mend or record more, and call again",
    )


def _report(
    recordings: Recordings, lengths: dict[int, int], skipped: dict[str, str], num_left_over: int
) -> ImportReport:
    description = recordings.description
    return ImportReport(
        format=description.format,
        num_found=len(description.episodes),
        num_read=len(lengths),
        num_steps=sum(lengths.values()),
        num_left_over=num_left_over,
        skipped=skipped,
        notes=description.notes,
        captions=description.captions,
    )


def _with_horizon(spec: WorldSpec, longest: int) -> WorldSpec:
    """Return a spec whose task, if it has one, lasts as long as the longest episode."""
    if not spec.tasks:
        return spec
    return replace(spec, tasks={TASK: recorded_task(longest)})


def _existing_report(target: Path, name: str, origin: dict[str, Any]) -> ImportReport:
    """Return the report of an import that was done before.

    Raises:
        DatasetError: if the target holds anything else.
    """
    meta = read_meta(target / META)
    imported = meta.get(IMPORT)
    if not isinstance(imported, dict) or meta.get("world") != name:
        raise _other_data(target, f"of the world {meta.get('world')}")
    for key, what in (("content", "other files"), ("settings", "other settings")):
        if imported.get(key) != origin[key]:
            raise _other_data(target, f"imported from {what}")
    try:
        fields = {field: imported[field] for field in ImportReport.__dataclass_fields__}
        report = ImportReport(**fields)
    except (KeyError, TypeError) as error:
        raise _other_data(target, f"without {error}") from error
    Dataset(target)  # it has whole shards
    return replace(report, notes=tuple(report.notes), captions=tuple(report.captions))


def _other_data(target: Path, what: str) -> DatasetError:
    return DatasetError(
        "another data set is here",
        given=f"{target}, {what}",
        allowed="what these recordings became, with the same settings",
        remedy="delete it to import the recordings again, or give another name",
    )


def _fingerprint(folder: Path) -> str:
    """Return a hash of the names and sizes of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            line = f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _as_json(imported: dict[str, Any]) -> dict[str, Any]:
    """Return it as JSON reads it back, so that it can be compared."""
    return json.loads(json.dumps(imported))


@contextmanager
def _locked_folder(target: Path) -> Iterator[None]:
    """Hold a folder, and remove it if nothing is in it at the end."""
    try:
        with folder_lock(target):
            yield
    finally:
        with suppress(OSError):
            target.rmdir()
