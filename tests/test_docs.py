"""What the documents promise to list is listed."""

import re

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
