"""What a job does not import: who asks for help, or has nothing to do, does not wait for Ray and PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library

SLOW = {"torch", "ray", "torchmetrics"}
# train and import_weights take the names of variants from the networks' own modules.
HELP = {
    "colorize": set(), "verify": set(), "evaluate": set(), "ingest": set(), "demo": set(),
    "train": {"torch"}, "import_weights": {"torch"},
}  # fmt: skip


def imported(job: str, *arguments: str) -> tuple[set[str], int]:
    """The slow packages that a job imports, and its exit code."""
    code = (
        f"import sys; sys.argv = {['x', *arguments]!r}\nfrom jobs.{job} import cli\n"
        f"try: cli()\nexcept SystemExit as end: print('ended', end.code, *({SLOW!r} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.splitlines()[-1]
    _, exit_code, *names = told.split()
    return set(names), int(exit_code)


@pytest.mark.parametrize("job", HELP)
def test_help(job: str) -> None:
    assert imported(job, "--help") == (HELP[job], 0)


def test_a_wrong_option() -> None:
    given = ("--model", "m", "--source", "s", "--out", "o", "--batch-size", "0")
    assert imported("colorize", *given) == (set(), 2)


def test_nothing_to_do(tmp_path: Path, model: Path) -> None:
    library = Library(tmp_path, model)
    library.put("in/ch01.cbz", zipped({"1.png": gray_page(1)}))
    assert library.run()["ch01.cbz"].status == "done"
    given = ("--model", str(model), "--source", str(tmp_path / "in"), "--out", str(library.out))
    assert imported("colorize", *given) == (set(), 0)
