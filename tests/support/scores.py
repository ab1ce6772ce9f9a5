"""Scores that were recorded, for tests that need some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streamdit_gym.evaluate.schema import Scores

RESULTS = Path(__file__).resolve().parent.parent.parent / "docs" / "results"
RECORDED = ("PushT", "PushT-Looks", "PushT-pipelined", "PushT-quick")


def recorded_content(name: str = "PushT") -> dict[str, Any]:
    """Return a scores file of the repository, as JSON holds it."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def recorded_scores(name: str = "PushT") -> Scores:
    """Return the scores of a file of the repository."""
    return Scores.from_dict(recorded_content(name))
