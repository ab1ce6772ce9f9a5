"""What ``config.json`` of a bundle may say, and the typed objects that it becomes.

Takes: a folder, or the content of a ``config.json``.
Gives: a `BundleConfig`, or an error that names the field.
Knows nothing of: weights, where worlds are found.

A bundle may come from anybody. So every field is checked for its type, finiteness and range, and
the parts against each other, before anything is built: the fields in `fields`, how they fit
together here, and that a network is no larger than its weights file in `files`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdit_gym.actions import needed_phrases
from streamdit_gym.bundle.field_checks import (
    AGAIN,
    CONFIG,
    check_dictionary,
    check_object,
    refused,
)
from streamdit_gym.bundle.fields import CONFIG_FIELDS, FORMAT, FileEntry
from streamdit_gym.bundle.networks import (
    MODEL_RULES,
    NETWORK_RULES,
    PIPELINED_RULES,
    TRANSITION_RULES,
    Rule,
    check_rules,
)
from streamdit_gym.bundle.phrase_storage import with_all_phrases
from streamdit_gym.checks import shown
from streamdit_gym.definition import Task, WorldSpec
from streamdit_gym.errors import ArgumentError, BundleError
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.model.readout import ReadoutConfig
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.model.transition_readout import TransitionReadoutConfig

# every bundle has these
WEIGHTS = ("model", "codec", "heads", "prompts", "starts")
# some have these, too
OPTIONAL_WEIGHTS = ("longer", "transitions")
MAX_CONFIG_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """A checked ``config.json``.

    Attributes:
        spec: what the world is.
        model: the transformer.
        codec: the codec.
        heads: the reward and success head.
        phrases: texts of the embedded prompts.
        facts: what people want to know: training data, licence, scores.
        files: the other files, by name.
        longer: the transformer for buffers of several chunks, if it is another one.
        transitions: the readout of the environment's own reward and end, if there is one.
        digest: SHA-256 of everything here but `facts`: equal bundles have equal digests.
        has_all_phrases: whether the digest is computed; it is only copied where the generator of
            the phrases is not known here.
    """

    spec: WorldSpec
    model: StreamDiTConfig
    codec: ConvCodecConfig
    heads: ReadoutConfig
    phrases: list[str]
    facts: dict[str, Any]
    files: dict[str, FileEntry]
    longer: StreamDiTConfig | None
    transitions: TransitionReadoutConfig | None
    digest: str
    has_all_phrases: bool = True


def read_config(folder: Path) -> BundleConfig:
    """Return the checked ``config.json`` of a bundle.

    Raises:
        BundleError: if it is missing, cannot be read, or says what cannot be, naming the field.
    """
    return _checked(read_content(folder), folder / CONFIG)


def read_content(folder: Path) -> Any:
    """Return what the JSON of a bundle's ``config.json`` says, unchecked.

    Raises:
        BundleError: if it is missing, too large, or no JSON.
    """
    path = folder / CONFIG
    try:
        if not path.is_file():
            raise BundleError(
                "not a world bundle",
                given=folder,
                allowed=f"a folder with {CONFIG}",
                remedy="check the path",
            )
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{CONFIG} cannot be read",
            given=f"{path}: {error}",
            remedy=AGAIN,
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise BundleError(
            f"{CONFIG} is too large",
            given=f"{path}: {path.stat().st_size} bytes",
            allowed=f"up to {MAX_CONFIG_BYTES} bytes",
            remedy=AGAIN,
        )
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:  # a UnicodeDecodeError is a ValueError
        given = f"{path}: {shown(str(error))}"
        raise BundleError(
            f"{CONFIG} cannot be read",
            given=given,
            allowed="JSON",
            remedy=AGAIN,
        ) from error


def check_config(content: Any) -> BundleConfig:
    """Return the typed objects that the content of a ``config.json`` describes.

    Raises:
        ArgumentError: if a field cannot be used.
        BundleError: if the format is newer, a field is missing, or one is not known here.
    """
    _check_format(content)
    content, has_all_phrases = with_all_phrases(content)
    values = check_object("", content, CONFIG_FIELDS)
    digest = content_digest(content)
    if not has_all_phrases:  # the digest is of all phrases
        digest = values.get("digest", digest)
    models = {key: values[key] for key in ("model", "longer") if key in values}
    for key, model in models.items():
        check_rules(model, MODEL_RULES, f"{key}.")
    config = BundleConfig(
        spec=values["spec"],
        model=values["model"],
        codec=values["codec"],
        heads=values["heads"],
        phrases=list(values["phrases"]),
        facts=values["facts"],
        files=values["files"],
        longer=values.get("longer"),
        transitions=values.get("transitions"),
        digest=digest,
        has_all_phrases=has_all_phrases,
    )
    check_rules(config, RULES)
    if config.longer is not None:
        check_rules(config, PIPELINED_RULES)
    if config.transitions is not None:
        check_rules(config, TRANSITION_RULES)
    _check_tasks(config.spec)
    if values.get("digest", config.digest) != config.digest:
        raise BundleError(
            f"{CONFIG} is damaged, or was changed by hand",
            given=f"its digest is not {values['digest'][:12]}...",
            allowed="any change of `facts`",
            remedy=f'{AGAIN}; if you changed it yourself, remove its line "digest"',
        )
    return config


def check_pinned(folder: Path, digest: str) -> None:
    """Refuse a bundle that is another one than was asked for; no weights are read.

    Args:
        folder: the bundle.
        digest: SHA-256 that it must have, as `World.digest`. It covers the hashes of all weights
            files, which are checked when they are read.

    Raises:
        BundleError: if it has another digest, or it cannot be computed here.
    """
    config = read_config(folder)
    if not config.has_all_phrases:
        raise BundleError(
            "the digest of this bundle cannot be checked",
            given=f"{folder}: phrases of a generator, or a version of it, that is not known here",
            allowed=f"a bundle with the digest {digest[:12]}...",
            remedy="use the version of streamdit_gym that has written it, or give no digest",
        )
    if config.digest != digest:
        raise BundleError(
            "the bundle is another one than was asked for",
            given=f"{folder}: digest {config.digest[:12]}...",
            allowed=f"digest {digest[:12]}...",
            remedy="get it from whom you trust, or give the digest of this one if you trust it",
        )


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a ``config.json`` with all phrases, without its facts and digest."""
    hashed = {key: value for key, value in content.items() if key not in ("facts", "digest")}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


RULES = (
    *NETWORK_RULES,
    Rule("spec.size", lambda c: c.spec.frame_size == c.codec.frame_size, "codec.size"),
    Rule(
        "heads.state_names",
        lambda c: c.heads.state_names == c.spec.state_names,
        "spec.state_names",
    ),
    Rule(
        "heads.score_names",
        lambda c: c.heads.score_names == c.spec.score_names,
        "spec.score_names",
    ),
    Rule(
        "phrases",
        lambda c: set(needed_phrases(c.spec.actions)) <= set(c.phrases),
        "the first phrase of every action, or every clause of a box, at least",
    ),
    Rule(
        "files",
        lambda c: set(c.files) == set(file_names(c.longer is not None, c.transitions is not None)),
        "the bundle's weights files",
    ),
)


def file_names(longer: bool, transitions: bool = False) -> list[str]:
    """Return the names of a bundle's weights files."""
    has_part = dict(zip(OPTIONAL_WEIGHTS, (longer, transitions), strict=True))
    parts = [*WEIGHTS, *(part for part, is_there in has_part.items() if is_there)]
    return [f"{part}.safetensors" for part in parts]


def all_file_names() -> list[str]:
    """Return the names of the weights files that a bundle may have."""
    return file_names(longer=True, transitions=True)


def _check_tasks(spec: WorldSpec) -> None:
    for name, task in spec.tasks.items():
        for key in ("potential", "success"):
            if isinstance(task, Task) and getattr(task, key) not in spec.score_names:
                raise refused(
                    f"spec.tasks.{name}.{key}",
                    getattr(task, key),
                    "one of spec.score_names",
                )


def _check_format(content: Any) -> None:
    version = check_dictionary("", content).get("format")
    if isinstance(version, int) and version > FORMAT:  # whatever else it says may be new, too
        raise BundleError(
            "the bundle is newer than this package",
            given=f"format {shown(version)}",
            allowed=f"up to {FORMAT}",
            remedy="upgrade streamdit_gym",
        )


def _checked(content: Any, path: Path) -> BundleConfig:
    """Check the content of a file; errors name the file."""
    try:
        return check_config(content)
    except ArgumentError as error:
        raise BundleError(
            f"{CONFIG}: {error.problem}",
            given=f"{error.given}, in {path}",
            allowed=error.allowed,
            remedy=AGAIN,
        ) from error
    except BundleError as error:
        given = f"{error.given}, in {path}"
        raise BundleError(
            error.problem,
            given=given,
            allowed=error.allowed,
            remedy=error.remedy,
        ) from error
