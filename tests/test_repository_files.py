"""Files beside the code: decisions, the site's pages, workflows, hooks and the citation agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import streamdit_gym

ROOT = Path(__file__).resolve().parent.parent
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
PARTS = ["Context", "Decision", "Why", "Cost", "Status"]
ACTIONS_OF_CI = {"format-check", "lint", "type", "docs", "test", "wheel-test"}


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def title_of(decision: Path) -> tuple[int, str]:
    number, title = decision.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
    return int(number), title


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_the_same_parts_as_the_others(decision: Path) -> None:
    assert re.findall(r"^## (.+)$", decision.read_text(), re.MULTILINE) == PARTS
    assert title_of(decision)[0] == int(decision.name[:4])


def test_the_index_lists_every_decision_with_its_status() -> None:
    rows = re.findall(
        r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (.+) \|$",
        (ROOT / "docs" / "decisions" / "index.md").read_text(),
        re.MULTILINE,
    )
    assert [(int(row[0]), row[1], row[2]) for row in rows] == [
        (*title_of(path), path.name) for path in DECISIONS
    ]
    assert all(row[3] for row in rows)


def make_targets(path: Path) -> set[str]:
    """Return the targets that a script or workflow calls; `check` is three."""
    targets = set(re.findall(r"^\s*(?:- run: )?make ([\w-]+)$", path.read_text(), re.MULTILINE))
    if "check" in targets:
        rule = re.search(r"^check: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rule is not None
        targets = (targets - {"check"}) | set(rule[1].split())
    return targets


def test_workflows_do_what_ci_does() -> None:
    workflows = [
        ROOT / ".github" / "workflows" / f"{name}.yml"
        for name in ("lint", "types", "tests", "docs")
    ]
    together = set().union(*(make_targets(path) for path in workflows))
    assert make_targets(ROOT / ".ci" / "run") == together == ACTIONS_OF_CI


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_a_workflow_has_jobs_with_steps(path: Path) -> None:
    for job in load_yaml(path)["jobs"].values():
        assert all({"run", "uses"} & set(step) for step in job["steps"])


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")),
    ids=lambda path: path.stem,
)
def test_an_issue_form_asks_something(path: Path) -> None:
    form = load_yaml(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields) > 0


def test_hooks_use_the_versions_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    hooks = [
        hook
        for repo in load_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repo["hooks"]
    ]
    pinned = [name for hook in hooks for name in hook.get("additional_dependencies", [])]
    assert pinned
    assert set(pinned) <= set(constraints)


def test_the_citation_is_of_this_version() -> None:
    citation = load_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == streamdit_gym.__version__
    assert citation["title"] == "streamdit_gym"


def test_the_site_asks_nobody() -> None:
    """Fonts and plugins that fetch from other servers are off."""
    site = load_yaml(ROOT / "mkdocs.yml")
    assert site["theme"]["font"] is False
    names = {
        plugin if isinstance(plugin, str) else next(iter(plugin)) for plugin in site["plugins"]
    }
    assert names == {"search", "mkdocstrings"}
    assert set(site["validation"].values()) == {"warn"}
