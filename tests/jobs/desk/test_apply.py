"""The run of the job that the desk starts: with the options of the job, and with what the output keeps."""

import asyncio
import sys
from collections import deque
from pathlib import Path

import pytest

from datasets.storage import open_storage
from jobs.colorize import cli
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.desk.apply import Applier, JobRun, arguments_of, cluster_line
from jobs.parts.desk.catalogue import open_catalogue
from jobs.parts.desk.edits import Edits
from jobs.parts.desk.marking import Marking
from jobs.parts.ledger.ledger import CAST, HINTS, PALETTE
from tests.jobs.desk.desk import library_of

OPTIONS = [
    {},
    {"format": "png", "strict": True, "keep_format": True, "gate_dull": 12.5, "max_members": 7, "page_seconds": 3.0},
    {"model": "-m", "reference": "a b/c.cbz", "strategy": "panels", "previews": "flagged", "backend": "torch"},
    {"palette": "auto", "reference": "r"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_options_are_those_of_the_job(options: dict[str, object]) -> None:
    config = ColorizeConfig(source="s --out x", out="o", **options)  # type: ignore[arg-type]
    again = ColorizeConfig(**cli.make_context("colorize", arguments_of(config)).params)
    assert again == config


def test_hints_cast_and_palette_are_those_of_the_output() -> None:
    given = ColorizeConfig(
        source="s", out="s3://b/o", hints="h.csv", cast="c.csv", palette="p.json", replace=True, runner="ray"
    )
    again = ColorizeConfig(**cli.make_context("colorize", arguments_of(given)).params)
    assert again == ColorizeConfig(source="s", out="s3://b/o", palette=f"s3://b/o/{PALETTE}")


def test_a_cluster_is_told_of_buckets_alone() -> None:
    line = cluster_line(ColorizeConfig(source="s3://b/in with space", out="s3://b/o"))
    assert line.endswith("-- python jobs/colorize.py '--source=s3://b/in with space' --out=s3://b/o")
    assert cluster_line(ColorizeConfig(source="s3://b/in", out="o")) == ""
    assert cluster_line(ColorizeConfig(source="in", out="s3://b/o")) == ""


def test_hints_and_cast_that_the_job_was_given_are_kept_before_it_runs_without(tmp_path: Path) -> None:
    lines, names = "page,x,y,radius,colour\nch01.cbz/0.png,5,6,7,sea\n", "name,colour\nsea,teal\n"
    (tmp_path / "h.csv").write_text(lines)
    (tmp_path / "c.csv").write_text(names)
    library = library_of(tmp_path, chapters=1, hints=str(tmp_path / "h.csv"), cast=str(tmp_path / "c.csv"))
    catalogue = open_catalogue(str(library.out))
    edits = Edits(catalogue, Marking(catalogue))
    edits.keep()
    assert (library.out / HINTS).read_text() == lines
    assert (library.out / CAST).read_text() == names
    library.run(backend="torch")
    assert library.computed == set()
    open_storage(str(library.out)).put(HINTS, b"page,x,y,radius,colour\n")
    edits.keep()
    assert (library.out / HINTS).read_text() == "page,x,y,radius,colour\n"  # all taken back, and so it stays


def followed(program: str) -> JobRun:
    """The run of a program in a job's place, followed to its end."""

    async def follow() -> JobRun:
        applier = Applier(ColorizeConfig(source="s", out="o"), lambda: None)
        run = JobRun(deque(maxlen=60))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        await applier._follow(process, run)
        return run

    return asyncio.run(follow())


def test_a_line_of_any_length_is_followed_to_the_end_of_the_job() -> None:
    run = followed("print('first'); print('x' * 300_000); print(); print('last', end=''); raise SystemExit(3)")
    assert run.code == 3
    first, *long, empty, last = run.lines
    assert (first, empty, last) == ("first", "", "last")
    assert "".join(long) == "x" * 300_000
    assert max(map(len, long)) <= 10_000
