"""What the documents promise to list is listed."""

from pathlib import Path

from datasets.errors import Code

ROOT = Path(__file__).resolve().parents[1]


def test_every_code_is_explained() -> None:
    text = (ROOT / "docs/errors.md").read_text()
    assert [code for code in Code if f"`{code}`" not in text] == []
