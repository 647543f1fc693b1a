"""The jobs' command lines: what --help says, and the messages for bad values. Ray is never started."""

import logging
import re
from pathlib import Path

import click
import pytest
import ray
from click.testing import CliRunner, Result

import jobs.colorize
import jobs.demo
import jobs.evaluate
import jobs.import_weights
import jobs.ingest
import jobs.pair
import jobs.train

CLIS: dict[str, click.Command] = {
    "ingest": jobs.ingest.cli,
    "pair": jobs.pair.cli,
    "train": jobs.train.cli,
    "colorize": jobs.colorize.cli,
    "evaluate": jobs.evaluate.cli,
    "import_weights": jobs.import_weights.cli,
    "demo": jobs.demo.cli,
}
GIVEN = {
    "ingest": ["--color", "/nowhere/color", "--out", "/nowhere/shards"],
    "pair": ["--gray", "/nowhere/gray", "--color", "/nowhere/color", "--out", "/nowhere/shards"],
    "train": ["--data", "/nowhere/shards", "--run", "/nowhere/run"],
    "colorize": ["--model", "/nowhere/model", "--source", "/nowhere/in", "--out", "/nowhere/out"],
    "import_weights": ["--from", "pix2pix", "--weights", "/nowhere/x.pth", "--out", "/nowhere/model"],
    "evaluate": ["--model", "/nowhere/model", "--data", "/nowhere/shards", "--out", "/nowhere/out"],
    "demo": [],
}


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", refuse)


def invoke(job: str, *arguments: str) -> Result:
    return CliRunner().invoke(CLIS[job], arguments)


def told(result: Result) -> str:
    """What the user sees, without line breaks."""
    return " ".join(result.output.split())


@pytest.mark.parametrize("job", CLIS)
def test_help_tells_groups_and_defaults(job: str) -> None:
    result = invoke(job, "--help")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    titles = [line[:-1] for line in lines if re.fullmatch(r"[A-Z]\w+:", line)]
    assert {"Output", "Other"} <= set(titles)
    assert len(titles) == len(set(titles))
    assert "Options" not in titles
    text = told(result)
    for param in CLIS[job].params:
        assert isinstance(param, click.Option)
        assert text.count(f" {param.opts[0]} ") >= 1
        assert param.help
        assert param.help.split()[0] in text
        if param.required:
            assert param.default is None or "Sentinel" in repr(param.default)
    assert "Sentinel" not in text
    assert "[required]" in text or job == "demo"
    assert result.output == invoke(job, "-h").output


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        ("ingest", "[default: 0.1; with"),
        ("ingest", "[default: lightness]"),
        ("train", "[default: zhang]"),
        ("train", "[default: 256; pix2pixhd 512;"),
        ("train", "[default: 0.0002; colornet 0.0001;"),
        ("colorize", "[default: jpeg]"),
        ("colorize", "[jpeg|png|webp]"),
        ("evaluate", "[default: auto]"),
        ("demo", "[default: out/demo]"),
    ],
)
def test_help_shows_defaults_and_choices(job: str, shown: str) -> None:
    assert shown in told(invoke(job, "--help"))


@pytest.mark.parametrize(
    ("job", "option", "value", "fix"),
    [
        ("ingest", "--gray-from", "guess", "'lightness', 'luma'"),
        ("ingest", "--seed", "many", "integer"),
        ("train", "--variant", "dalle", "'pix2pix'"),
        ("train", "--target", "hsv", "'ab', 'rgb'"),
        ("train", "--batch-size", "0", "at least 1"),
        ("train", "--saturation-jitter", "1.5", "[0, 1]"),
        ("train", "--saturation-jitter", "nan", "[0, 1]"),
        ("train", "--eval-every", "0", "at least 1"),
        ("train", "--num-workers", "-1", "0 for automatic"),
        ("train", "--max-steps", "-5", "0 for no limit"),
        ("train", "--max-minutes", "-0.5", "0 for no limit"),
        ("train", "--device", "tpu", "'cuda'"),
        ("train", "--image-size", "100", "multiple of 8"),
        ("train", "--image-size", "0", "at least 32"),
        ("train", "--base-channels", "0", "at least 1"),
        ("train", "--learning-rate", "0", "above 0"),
        ("train", "--learning-rate", "nan", "above 0"),
        ("colorize", "--format", "gif", "'webp'"),
        ("colorize", "--batch-size", "-2", "at least 1"),
        ("colorize", "--max-members", "0", "at least 1"),
        ("colorize", "--max-pixels", "-1", "at least 1"),
        ("colorize", "--page-seconds", "0", "0.1 s to a day"),
        ("colorize", "--num-actors", "-1", "a count, or auto"),
        ("colorize", "--gate-ssim", "1.5", "from 0 to 1"),
        ("colorize", "--gate-dull", "500", "the lower one"),
        ("colorize", "--num-actors", "0", "a count, or auto"),
        ("colorize", "--gpus-per-actor", "0", "a part of a GPU"),
        ("colorize", "--gpus-per-actor", "1.5", "a part of a GPU"),
        ("colorize", "--gpus-per-actor", "nan", "a part of a GPU"),
        ("evaluate", "--num-actors", "-1", "a count, or auto"),
        ("evaluate", "--device", "tpu", "'auto'"),
        ("demo", "--steps", "0", "at least 1"),
        ("demo", "--num-workers", "0", "at least 1"),
    ],
)
def test_bad_value_names_option_value_and_fix(job: str, option: str, value: str, fix: str) -> None:
    result = invoke(job, *GIVEN[job], option, value)
    assert result.exit_code == 2
    text = told(result)
    assert option.removeprefix("--").replace("-", " ") in text.replace("-", " ")
    assert value in text
    assert fix in text
    assert "Traceback" not in text


@pytest.mark.parametrize("option", ["--image-size", "--base-channels", "--learning-rate"])
def test_bad_model_option_is_named_as_it_is_typed(option: str) -> None:
    result = invoke("train", *GIVEN["train"], option, "-1")
    assert result.exit_code == 2
    assert option in told(result)


@pytest.mark.parametrize("job", ["ingest", "train", "colorize", "evaluate", "import_weights"])
def test_missing_option_is_named(job: str) -> None:
    result = invoke(job)
    assert result.exit_code == 2
    assert "Missing option '--" in told(result)


def test_ingest_needs_an_edition() -> None:
    result = invoke("ingest", "--out", "/nowhere/shards")
    assert result.exit_code == 2
    assert "--color" in told(result)
    assert "--gray" in told(result)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("ingest", ["/nowhere/color", "does not exist"]),
        ("train", ["--data", "/nowhere/shards", "ingest"]),
        ("colorize", ["--model", "/nowhere/model", "RUN/model"]),
        ("evaluate", ["--data", "/nowhere/shards", "ingest"]),
        ("import_weights", ["--weights", "/nowhere/x.pth"]),
    ],
)
def test_places_that_are_not_there(job: str, expected: list[str], caplog: pytest.LogCaptureFixture) -> None:
    result = invoke(job, *GIVEN[job])
    assert result.exit_code == 2
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is None
    for part in expected:
        assert part in errors[0].getMessage()


def test_source_without_chapters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("nothing to read")
    assert invoke("ingest", "--color", str(tmp_path), "--out", str(tmp_path / "out")).exit_code == 2
    assert "no chapter" in caplog.text
    assert not (tmp_path / "out").exists()


def test_unknown_storage(caplog: pytest.LogCaptureFixture) -> None:
    assert invoke("ingest", "--color", "ftp://host/x", "--out", "/nowhere/shards").exit_code == 2
    assert "s3://bucket/prefix" in caplog.text
