"""The model that comes with the project: a name that every process finds in its own package, and half precision."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.evaluate.candidates import OURS, find_candidates
from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.evaluate.results import loss_curves
from jobs.parts.ledger.ledger import JOB, Ledger
from jobs.parts.model import folder as model_folder
from jobs.parts.model.folder import BUNDLED, ModelCard, load_model, publish, refuse_not_finite
from jobs.parts.model.inference import predict_chroma
from models.checkpoint import to_bytes
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.untrained import publish_untrained

SMALL: dict[str, Any] = {"base_channels": 4, "image_size": 64}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of networks that comes with a small model."""
    publish_untrained(tmp_path / "package/bundled", "exemplar", **SMALL)
    install(monkeypatch, tmp_path / "package")
    return tmp_path / "package"


def install(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    """Have this process run that package of networks, as another machine does."""
    monkeypatch.setattr(model_folder, "files", lambda name: {"models": package}[name])


def settings_of(tmp_path: Path, **options: Any) -> JobSettings:
    return JobSettings.of(ColorizeConfig(source=str(tmp_path / "in"), out=str(tmp_path / "out"), **options))


def test_a_colouring_without_model_takes_it_and_says_so(
    package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "mangahue"):
        settings = settings_of(tmp_path)
    card = json.loads((package / "bundled/model.json").read_text())
    assert settings.card == card
    (line,) = (message for message in caplog.messages if "--model" in message)
    assert line == f"--model bundled: the exemplar that comes with mangahue, weights {card['weights_sha256'][:12]}"


def test_a_job_records_its_name_and_its_weights_and_no_place(package: Path, tmp_path: Path) -> None:
    open_storage(str(tmp_path)).put("in/ch01.cbz", zipped({"1.png": gray_page(1)}))
    settings = settings_of(tmp_path)
    ledger = Ledger(settings.out, settings.fingerprint)
    plan(str(tmp_path / "in"), ledger, settings, replace=False)
    job = json.loads(ledger.storage.read(JOB))
    assert job["config"]["model"] == BUNDLED
    assert str(package) not in json.dumps(job)
    given = settings_of(tmp_path, model=str(package / "bundled"))
    assert job["weights_sha256"] == given.card["weights_sha256"]
    assert settings.fingerprint == given.fingerprint


def test_a_worker_finds_it_in_its_own_package(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    package.rename(tmp_path / "elsewhere")
    install(monkeypatch, tmp_path / "elsewhere")
    Predictor.of(settings, threads=1, on_gpu=False)


def test_a_worker_with_another_version_of_it_is_told(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path)
    publish_untrained(tmp_path / "older/bundled", "exemplar", base_channels=8, image_size=64)
    install(monkeypatch, tmp_path / "older")
    with pytest.raises(BadUsageError, match="--model bundled: this node has another mangahue"):
        Predictor.of(settings, threads=1, on_gpu=False)


def test_a_folder_of_that_name_is_given_as_a_path(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_untrained(tmp_path / "here/bundled", "pix2pix", **SMALL)
    monkeypatch.chdir(tmp_path / "here")
    assert settings_of(tmp_path, model="./bundled").card["variant"] == "pix2pix"
    assert settings_of(tmp_path, model="bundled").card["variant"] == "exemplar"


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors"])
def test_a_package_that_lacks_a_part_of_it_is_told(package: Path, missing: str) -> None:
    (package / "bundled" / missing).unlink()
    refuse_not_finite(BUNDLED)
    with pytest.raises(BadUsageError, match=rf"--model bundled: .*{missing}.*install mangahue again"):
        load_model(BUNDLED)


def test_an_evaluation_without_model_measures_it(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = EvaluateConfig(data=str(tmp_path / "shards"), out=str(tmp_path / "report"))
    with caplog.at_level(logging.INFO, "mangahue"):
        candidates = find_candidates(config.model)
    assert [(candidate.name, candidate.uri) for candidate in candidates] == [(OURS, BUNDLED)]
    assert "--model bundled: the exemplar that comes with mangahue" in caplog.text
    # What lies in the folder that the job was started in is no training of it.
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "losses": {"l1": 1.0}}\n')
    monkeypatch.chdir(tmp_path)
    assert loss_curves(candidates) == []


def test_it_is_compared_with_other_models_by_its_name(package: Path, tmp_path: Path) -> None:
    publish_untrained(tmp_path / "runs/first/model", "pix2pix", **SMALL)
    found = find_candidates([BUNDLED, str(tmp_path / "runs/first/model")])
    assert [candidate.name for candidate in found] == ["bundled", "first"]


@pytest.mark.parametrize("name", ["exemplar", "pix2pix", "zhang"])
def test_weights_in_half_precision_colour_as_those_they_were(name: str, tmp_path: Path) -> None:
    """The network computes in float32, and chroma differs by less than a level of 8 bits can show."""
    whole = publish_untrained(tmp_path / "whole", name, image_size=64)
    state = whole.generator().state_dict()
    halved = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    card = ModelCard(variant=name, config=json.loads((tmp_path / "whole/model.json").read_text())["config"])
    publish(open_storage(str(tmp_path / "half")), card, to_bytes(halved))

    half = load_model(str(tmp_path / "half"))
    kinds = {value.dtype for value in half.generator().state_dict().values() if value.is_floating_point()}
    assert kinds == {torch.float32}
    grays = np.random.default_rng(0).integers(0, 256, (2, 64, 64)).astype(np.uint8)
    expected, ours = (predict_chroma(variant, grays) for variant in (load_model(str(tmp_path / "whole")), half))
    assert np.abs(ours - expected).max() < 0.5
