"""What a job does not import: who asks for help, or has nothing to do, does not wait for Ray and PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.__main__ import VERBS
from jobs.parts.runtime import ROOT
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library

SLOW = {"torch", "ray", "torchmetrics"}
# train and import_weights take the names of variants from the networks' own modules.
HELP = {
    "colorize": set(), "verify": set(), "evaluate": set(), "ingest": set(), "demo": set(), "desk": set(), "pair": set(),
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


def test_the_list_of_verbs() -> None:
    code = "import sys; from jobs.__main__ import main\ntry: main(['--help'])\nfinally: "
    code += f"print({SLOW!r} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert all(f"  {verb} " in told for verb in VERBS)
    assert told.splitlines()[-1] == "set()"


def test_every_job_is_a_verb() -> None:
    files = {path.stem.replace("_", "-") for path in (ROOT / "jobs").glob("*.py") if not path.stem.startswith("__")}
    assert files == set(VERBS) == {job.replace("_", "-") for job in HELP}


@pytest.mark.parametrize("words", [["verify", "--out", "gopher://x"], ["import-weights", "--help"], ["color"]])
def test_a_verb_is_its_job(words: list[str]) -> None:
    """The same output and exit code; a verb that is none is bad usage."""
    as_verb = subprocess.run([Path(sys.executable).with_name("mangahue"), *words], capture_output=True, text=True)
    if words == ["color"]:
        assert as_verb.returncode == 2
        assert "No such command 'color'" in as_verb.stderr
        return
    job = f"jobs/{words[0].replace('-', '_')}.py"
    alone = subprocess.run([sys.executable, job, *words[1:]], capture_output=True, text=True, cwd=ROOT)
    assert as_verb.returncode == alone.returncode == (0 if "--help" in words else 2)
    assert as_verb.stdout.splitlines()[1:] == alone.stdout.splitlines()[1:]  # the first line names the command


def test_the_stages_on_ray_do_without_torch() -> None:
    """Each of Ray's workers imports this module for its stage."""
    code = f"import sys, jobs.parts.colorize.pipeline; print({SLOW!r} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "{'ray'}"


def test_a_wrong_option() -> None:
    given = ("--model", "m", "--source", "s", "--out", "o", "--batch-size", "0")
    assert imported("colorize", *given) == (set(), 2)


def test_nothing_to_do(tmp_path: Path, model: Path) -> None:
    library = Library(tmp_path, model)
    library.put("in/ch01.cbz", zipped({"1.png": gray_page(1)}))
    assert library.run()["ch01.cbz"].status == "done"
    given = ("--model", str(model), "--source", str(tmp_path / "in"), "--out", str(library.out))
    assert imported("colorize", *given) == (set(), 0)
