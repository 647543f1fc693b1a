"""What the documents promise to list is listed."""

import re
from pathlib import PurePosixPath

from datasets.errors import Code
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.telemetry import METRICS


def test_every_code_is_explained() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    assert [code for code in Code if f"`{code}`" not in text] == []


def test_every_metric_is_explained() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    for name, described in METRICS.items():
        (line,) = [line for line in text.splitlines() if f"| `ray_{name}` |" in line]
        assert f"`{described.label}`" in line
        assert described.label == "code" or f": {', '.join(described.values)} |" in line


def test_links_lead_to_files() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == [], page


def test_the_tree_of_the_architecture_is_that_of_the_disk() -> None:
    named = _paths_of_the_tree((ROOT / "docs/architecture.md").read_text())
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    top = ("jobs", "models", "imaging", "datasets")
    packages = {p.parent.relative_to(ROOT).as_posix() for name in top for p in (ROOT / name).rglob("__init__.py")}
    assert sorted(packages - named) == []


def _paths_of_the_tree(text: str) -> set[str]:
    """Every path that the first block of code names: a line begins with one, indented below its folder.

    Words with a slash, .py or .yaml at their end that follow on the line lie in the line's own folder.
    """
    named: set[str] = set()
    folders: list[str] = []
    for line in text.split("```")[1].strip().splitlines():
        first, _, described = line.strip().partition("  ")
        folders[(len(line) - len(line.lstrip())) // 2 :] = [first.rstrip("/")]
        own = PurePosixPath(*folders)
        named.add(str(own))
        named |= {str(own / word) for word in re.findall(r"\b\w+(?:/(?!\w)|\.py\b|\.yaml\b)", described)}
    return named
