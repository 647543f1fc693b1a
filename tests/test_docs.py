"""The documents list what they promise to list."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from datasets.errors import Code
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.telemetry import METRICS

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
ROOMS = ("benchmarks", "datasets", "deploy", "docs", "imaging", "jobs", "models", "pretraining", "tests")
ABSENT = {  # what a reader may write, or what is said not to be
    "jobs/x.py",
    "models/tinted.py",
    "jobs/colorize/",
    "jobs/model/",
}
# Where a path begins that is the reader's, or that a job writes: placeholders, a bucket, chapters, a job's own folders.
ELSEWHERE = re.compile(r"[A-Z]+|s3:|library|runs|out|build|_mangahue|checkpoints|ch\d+\.cbz|\.venv|\.*")


def named(text: str) -> Iterator[tuple[str, bool]]:
    """What a page says as code, word by word; and whether it stands in a line rather than in a block."""
    blocks = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    for block in blocks.findall(text):
        yield from ((word, False) for word in block.split())
    for span in re.findall(r"`([^`]+)`", blocks.sub("", text)):
        yield from ((word, True) for word in span.split())


def there(path: str) -> bool:
    """A path from the root, or a module's bare file name in any room; `*` stands for anything."""
    return any(ROOT.glob(path)) or ("/" not in path and any(any((ROOT / room).rglob(path)) for room in ROOMS))


def importable(name: str) -> bool:
    """A module of ours, or what one defines: datasets.names, datasets.names.safe_name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        file = ROOT.joinpath(*parts[:length])
        file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
        if file.exists():
            text, rest = file.read_text(), parts[length:]
            return all(re.search(rf"^ *(?:(?:class|def) )?{part}\b", text, re.MULTILINE) for part in rest)
    return False


def astray(text: str) -> list[str]:
    """Paths, modules and tests that are named and not there."""
    found, before = [], ""
    for word, in_line in named(text):
        name = word.strip("()[],;:'\"").removeprefix("./")
        first, slash, _ = name.partition("/")
        if before == "-m" and first.partition(".")[0] not in ("pip", "pytest"):
            wrong = not importable(name)
        elif name in ABSENT or not name:
            wrong = False
        elif name.endswith(".py") or first in ROOMS:
            wrong = not there(name)
        elif re.fullmatch(r"test_\w+", name):
            wrong = not any(f"def {name}(" in file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
        elif in_line and re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+", name):
            wrong = not importable(name)
        else:
            path = in_line and slash and name != f"{first}/" and not ELSEWHERE.fullmatch(first)
            wrong = bool(path) and not there(name)
        if wrong:
            found.append(name)
        before = word
    return found


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_named_is_there(page: Path) -> None:
    assert astray(page.read_text()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "`imaging/bubbles.py`", "`bubbles.py`", "`python -m benchmarks.words --art A`", "`deploy/none.json`",
        "`nowhere/none.json`", "`imaging.metrics.Bleed`", "`test_of_nothing`", "```\npython jobs/none.py\n```",
    ],
)  # fmt: skip
def test_what_is_named_wrongly_is_found(wrong: str) -> None:
    assert len(astray(f"A line.\n{wrong}\n")) == 1


def test_what_is_named_rightly_is_not() -> None:
    right = (
        "`imaging/text.py`, `text.py`, `python -m benchmarks.text`, `OUT/_mangahue/palette.json`, `s3://bucket/prefix`"
    )
    assert astray(f"{right}, `datasets.names.safe_name`, `samples/`, `pytest tests/faults`, `python -m pytest`") == []
