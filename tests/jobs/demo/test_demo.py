"""The demo: which jobs it runs, and what it is judged by. The jobs themselves do not run here."""

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from datasets.errors import MangahueError
from jobs import demo
from jobs.parts.demo.config import DemoConfig
from jobs.parts.demo.run import judge, run
from jobs.parts.model.folder import BUNDLED, bundled_card
from jobs.parts.runtime.outcome import Exit
from jobs.parts.train.config import TrainConfig

GRAY = 12.0


def report(folder: Path, **trained: float) -> Path:
    """What evaluate.py says of the bundled model and of a trained one, so far as the demo reads it."""
    means = {
        "bundled": {"ciede2000": 8.0, "color_names": 0.46},
        "trained": {"ciede2000": 6.6, "color_names": 0.67, **trained},
        "gray page": {"ciede2000": GRAY, "color_names": 0.27},
    }
    (folder / "metrics.json").write_text(json.dumps({"means": means}))
    return folder


def test_a_training_that_adds_to_both_measures_is_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mangahue"):
        assert judge(report(tmp_path), "trained") is Exit.DONE
    assert "CIEDE2000 6.60, 8.00 before the training, 12.00 of the gray page" in caplog.text
    assert "named right 0.67, 0.46 before" in caplog.text


@pytest.mark.parametrize(
    "trained",
    [
        {"ciede2000": 8.0, "color_names": 0.46},  # a training that changed nothing
        {"ciede2000": 7.6},
        {"color_names": 0.47},
        {"ciede2000": GRAY, "color_names": 0.27},  # gray pages
        {"ciede2000": float("nan")},
        {"color_names": float("nan")},
    ],
)
def test_a_training_that_adds_nothing_has_failed(tmp_path: Path, trained: dict[str, float]) -> None:
    assert judge(report(tmp_path, **trained), "trained") is Exit.FAILED


def test_pages_near_to_gray_are_none_that_were_learnt(tmp_path: Path) -> None:
    """Better than before does not do where before was worse than gray."""
    folder = report(tmp_path, ciede2000=0.7 * GRAY)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["means"]["bundled"]["ciede2000"] = 2 * GRAY
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert judge(folder, "trained") is Exit.FAILED


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The jobs that the demo runs, with their options."""
    jobs: list[tuple[str, dict[str, Any]]] = []

    def note(job: str, **options: Any) -> None:
        jobs.append((job, options))
        if job == "evaluate":
            options["out"].mkdir()
            report(options["out"])

    monkeypatch.setattr(demo, "run", note)
    assert demo.main(DemoConfig(out=str(tmp_path / "demo"), seed=2, steps=7)) is Exit.DONE
    return jobs


def test_it_colours_at_once_then_trains_and_measures_both(ran: list[tuple[str, dict[str, Any]]]) -> None:
    assert [job for job, _ in ran] == ["colorize", "ingest", "train", "colorize", "evaluate"]
    at_once, _, train, after, evaluate = (options for _, options in ran)
    assert "model" not in at_once
    assert at_once["source"] == after["source"]
    with zipfile.ZipFile(at_once["source"]) as chapter:
        assert len([name for name in chapter.namelist() if name.endswith(".png")]) == 8
    model = train["run"] / "model"
    assert after["model"] == model
    assert evaluate["model"] == (BUNDLED, model)


def test_its_training_is_a_fixed_number_of_steps_from_the_bundled_weights(
    ran: list[tuple[str, dict[str, Any]]],
) -> None:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in ran[2][1].items()}
    config = TrainConfig(**{**options, "num_workers": str(options["num_workers"])})
    assert config.start == BUNDLED
    assert (config.max_steps, config.max_minutes, config.early_stop, config.seed) == (7, 0, 0, 2)
    card = bundled_card("exemplar")
    assert card is not None
    assert config.model.image_size < card["config"]["image_size"]


def test_an_option_may_be_given_several_times_and_a_failed_job_ends_the_demo(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.INFO, "mangahue"),
        pytest.raises(MangahueError, match=r"jobs/evaluate\.py ended with exit code 2"),
    ):
        run("evaluate", model=("a", "b"), data="nowhere", out="gopher://x")
    assert caplog.messages == ["$ python jobs/evaluate.py --model a --model b --data nowhere --out gopher://x"]
