"""The backend of a job: recorded in job.json, kept by reruns, refused where another is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest

from datasets.errors import BadUsageError
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.ledger.ledger import JOB
from jobs.parts.model.backends import choice
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library
from tests.jobs.colorize.test_predictor import chunk_of
from tests.jobs.model.backends.installed import require_backend
from tests.untrained import publish_untrained


@pytest.fixture(autouse=True)
def _installed() -> None:
    require_backend("openvino")
    require_backend("onnx")


@pytest.fixture
def library(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(choice, "has_bf16", lambda: True)
    library = Library(tmp_path, model)
    library.put("in/ch1.cbz", zipped({"1.png": gray_page(1)}))
    return library


def recorded(library: Library) -> tuple[str, str]:
    settings = json.loads((library.out / JOB).read_text())["settings"]
    return settings.get("backend", "none"), settings.get("precision", "none")


def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name != "torch" else name)


@pytest.mark.parametrize(
    ("asked", "entry"),
    [("auto", ("openvino", "bf16")), ("onnx", ("onnx", "f32")), ("torch", ("none", "none"))],
)
def test_a_rerun_keeps_the_backend(library: Library, asked: str, entry: tuple[str, str]) -> None:
    library.run(backend=asked)
    assert recorded(library) == entry
    library.run()
    assert recorded(library) == entry
    assert library.computed == set()


def test_a_folder_that_was_begun_without_the_extra_stays_with_torch(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        without_the_extra(before)
        library.run()
    library.run()
    assert recorded(library) == ("none", "none")
    assert library.computed == set()


def test_another_backend_is_another_job(library: Library) -> None:
    library.run(backend="torch")
    with pytest.raises(
        BadUsageError, match=r"--out .* belongs to another job.*has backend openvino.* instead of none.*--replace"
    ):
        library.run(backend="openvino")
    assert library.run(backend="openvino", replace=True)["ch1.cbz"].status == "done"
    assert library.computed == {"ch1.cbz"}
    assert recorded(library) == ("openvino", "bf16")
    library.run(replace=True)  # the same weights: the folder's backend
    assert library.computed == set()


def test_other_weights_choose_anew(library: Library, tmp_path: Path) -> None:
    library.run(backend="torch")
    publish_untrained(tmp_path / "other", base_channels=3, image_size=64)
    library.model = tmp_path / "other"
    library.run(replace=True)
    assert recorded(library) == ("openvino", "bf16")


def test_a_rerun_without_the_package_names_the_extra(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.run()
    without_the_extra(monkeypatch)
    with pytest.raises(BadUsageError, match=r"--backend openvino: openvino.* not installed here.*\[cpu\]"):
        library.run()


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_predictor_uses_it(tmp_path: Path, backend: str) -> None:
    publish_untrained(tmp_path / "model", base_channels=4, image_size=32)

    def predicted(name: str) -> np.ndarray:
        config = ColorizeConfig(model=str(tmp_path / "model"), source="", out=str(tmp_path / name), backend=name)  # type: ignore[arg-type]
        predictor = Predictor.of(JobSettings.of(config), threads=1, on_gpu=False)
        chromas = [page.chroma for page in predictor(chunk_of(3)).pages]
        assert (predictor._variant._compiled is None) == (name == "torch")
        return np.stack(chromas)  # type: ignore[arg-type]

    np.testing.assert_allclose(predicted(backend), predicted("torch"), atol=0.5)
