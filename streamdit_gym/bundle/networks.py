"""The configurations of a bundle's networks in ``config.json``, and what must hold of them.

Some fields have older names on disk than in the code; `STORED_NAMES` has them all. Errors name a
field as it stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from streamdit_gym.actions import num_action_numbers
from streamdit_gym.bundle.field_checks import (
    Check,
    Field,
    check_object,
    distinct,
    each,
    label,
    optional,
    refused,
)
from streamdit_gym.bundle.pairs import check_pair
from streamdit_gym.checks import check_bool, check_int, check_real
from streamdit_gym.definition import stored_size
from streamdit_gym.model.conv_codec import ConvCodecConfig
from streamdit_gym.model.optional_modules import ALLOWED_GLOBAL_CHANNELS, fits_global_channels
from streamdit_gym.model.readout import ReadoutConfig
from streamdit_gym.model.streamdit_config import StreamDiTConfig
from streamdit_gym.model.transition_readout import TransitionReadoutConfig
from streamdit_gym.stream.partition import MAX_VALUE as MAX_MICRO_STEPS

MAX_TOKEN_ROWS = 64  # and columns, of a frame; the paper's model has 32
STRIDES = (8, 16)  # of autoencoders
# values that are not stored, as in the first bundles
UNSTORED = {"stride": STRIDES[0], "standardised": False, "sees_noise": False, "micro_steps": 1}
STORED_NAMES = {
    "frame_size": "size",
    "global_channels": "looks",
    "refiner_channels": "refine",
    "refiner_blocks": "refine_blocks",
}
NAMES = {stored: name for name, stored in STORED_NAMES.items()}

PAIRS = ("frame_size", "grid")


def _check_stride(name: str, value: Any) -> int:
    stride = check_int(name, value)
    if stride not in STRIDES:
        raise refused(name, value, " or ".join(map(str, STRIDES)))
    return stride


_names = Field(distinct(each(label, least=0, most=256)))
MODEL_FIELDS = {
    "channels": Field(partial(check_int, least=1, most=1024)),
    "looks": Field(partial(check_int, least=0, most=1023), required=False),
    "grid": Field(partial(check_pair, least=1, most=512)),
    "patch": Field(partial(check_int, least=1, most=64)),
    "width": Field(partial(check_int, least=4, most=16384)),
    "depth": Field(partial(check_int, least=1, most=256)),
    "heads": Field(partial(check_int, least=1, most=512)),
    "text_width": Field(partial(check_int, least=1, most=16384)),
    "window": Field(each(partial(check_int, least=0, most=4096), least=3, most=3)),
    "causal": Field(check_bool),
    "references": Field(partial(check_int, least=0, most=256)),
    "sees_noise": Field(check_bool, required=False),
    "micro_steps": Field(partial(check_int, least=1, most=MAX_MICRO_STEPS), required=False),
    "reference_time": Field(partial(check_real, above=0, most=1)),
    "temperature": Field(partial(check_real, least=0, most=100), required=False),
    "guidance": Field(partial(check_real, least=0, most=100), required=False),
    "refine": Field(partial(check_int, least=0, most=8192), required=False),
    "refine_blocks": Field(partial(check_int, least=0, most=64), required=False),
}
CODEC_FIELDS = {
    "size": Field(partial(check_pair, least=8, most=4096)),
    "stride": Field(_check_stride, required=False),
    "channels": Field(partial(check_int, least=1, most=1024)),
    "looks": Field(partial(check_int, least=0, most=1023), required=False),
    "width": Field(partial(check_int, least=8, most=4096)),
    "blocks": Field(partial(check_int, least=0, most=64)),
    "decoder_blocks": Field(optional(partial(check_int, least=0, most=64)), required=False),
    "standardised": Field(check_bool, required=False),
}
READOUT_FIELDS = {
    "channels": Field(partial(check_int, least=1, most=1024)),
    "grid": Field(partial(check_pair, least=1, most=512)),
    "width": Field(partial(check_int, least=1, most=4096)),
    "state_names": _names,
    "score_names": _names,
}
TRANSITION_READOUT_FIELDS = {
    "channels": Field(partial(check_int, least=1, most=1024)),
    "grid": Field(partial(check_pair, least=1, most=512)),
    "actions": Field(partial(check_int, least=1, most=4096)),
    "width": Field(partial(check_int, least=1, most=4096)),
}
NetworkConfig = StreamDiTConfig | ConvCodecConfig | ReadoutConfig | TransitionReadoutConfig


def stored_config(config: NetworkConfig) -> dict[str, Any]:
    """Return a network's configuration as ``config.json`` holds it."""
    stored = {}
    for name, value in asdict(config).items():
        if name in UNSTORED and value == UNSTORED[name]:
            continue
        key = STORED_NAMES.get(name, name)
        stored[key] = stored_size(value) if name in PAIRS else value
    return stored


def _network(kind: type, fields: dict[str, Field]) -> Check:
    """Check an object of JSON and make a network's configuration of it."""

    def check(name: str, value: Any) -> Any:
        values = check_object(name, value, fields)
        return kind(**{NAMES.get(key, key): item for key, item in values.items()})

    return check


check_model = _network(StreamDiTConfig, MODEL_FIELDS)
check_codec = _network(ConvCodecConfig, CODEC_FIELDS)
check_readout = _network(ReadoutConfig, READOUT_FIELDS)
check_transition_readout = _network(TransitionReadoutConfig, TRANSITION_READOUT_FIELDS)


@dataclass(frozen=True)
class Rule:
    """What must hold of a field, beside its own range."""

    field: str
    holds: Callable[[Any], bool]
    allowed: str


def check_rules(value: Any, rules: tuple[Rule, ...], prefix: str = "") -> None:
    """Refuse a value for which a rule does not hold.

    Raises:
        ArgumentError: naming the field.
    """
    for rule in rules:
        if not rule.holds(value):
            raise refused(f"{prefix}{rule.field}", _value_of(value, rule.field), rule.allowed)


def _value_of(value: Any, field: str) -> Any:
    """Return the value of a field that is named as in ``config.json``."""
    path = [NAMES.get(part, part) for part in field.split(".")]
    return attrgetter(".".join(path))(value)


def _divides_tokens(model: StreamDiTConfig) -> bool:
    """Return whether a window's rows and columns divide those of a frame's tokens."""
    _, *sides = model.window
    tokens = model.token_grid
    return all(side > 0 and total % side == 0 for total, side in zip(tokens, sides, strict=True))


def _has_whole_latents(config: Any) -> bool:
    """Return whether an autoencoder makes the latents that a transformer draws."""
    stride = config.codec.stride
    rows, columns = config.model.grid
    return bool(config.codec.frame_size == (stride * rows, stride * columns))


MODEL_RULES = (
    Rule(
        "looks",
        lambda m: fits_global_channels(m.channels, m.global_channels),
        ALLOWED_GLOBAL_CHANNELS,
    ),
    Rule("grid", lambda m: all(side % m.patch == 0 for side in m.grid), "a multiple of patch"),
    Rule("grid", lambda m: max(m.token_grid) <= MAX_TOKEN_ROWS, f"up to {MAX_TOKEN_ROWS} x patch"),
    Rule("width", lambda m: m.width % (2 * m.heads) == 0, "a multiple of 2 x heads"),
    Rule(
        "width",
        lambda m: not m.refiner_channels or m.width % m.patch**2 == 0,
        "a multiple of patch squared",
    ),
    Rule(
        "window",
        _divides_tokens,
        "frames, then rows and columns that divide grid / patch",
    ),
)
NETWORK_RULES = (
    Rule("codec.channels", lambda c: c.codec.channels == c.model.channels, "model.channels"),
    Rule(
        "codec.looks",
        lambda c: c.codec.global_channels == c.model.global_channels,
        "model.looks",
    ),
    Rule("codec.size", _has_whole_latents, "codec.stride (8 where there is none) x model.grid"),
    Rule("codec.width", lambda c: c.codec.width % 8 == 0, "a multiple of 8"),
    Rule("heads.channels", lambda c: c.heads.channels <= c.model.channels, "up to model.channels"),
    Rule("heads.grid", lambda c: c.heads.grid == c.model.grid, "model.grid"),
)
TRANSITION_RULES = (
    Rule(
        "transitions.channels",
        lambda c: c.transitions.channels <= c.model.channels,
        "up to model.channels",
    ),
    Rule(
        "transitions.grid",
        lambda c: c.transitions.grid == c.model.grid,
        "model.grid",
    ),
    Rule(
        "transitions.actions",
        lambda c: c.transitions.actions == num_action_numbers(c.spec.actions),
        "the numbers of an action",
    ),
)


def _same_in_both_models(stored: str) -> Rule:
    """Require that the pipelined model has the value of a field that the reactive one has."""
    value_of = attrgetter(NAMES.get(stored, stored))
    return Rule(
        f"longer.{stored}",
        lambda c: value_of(c.longer) == value_of(c.model),
        f"model.{stored}",
    )


PIPELINED_RULES = tuple(
    _same_in_both_models(stored) for stored in ("channels", "looks", "grid", "text_width")
)
