"""Weights that are not finite are not published, and a model that has them is refused before a job begins."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import models
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.evaluate.candidates import find_candidates
from jobs.parts.model import folder as model_folder
from jobs.parts.model.folder import ModelCard, load_model, publish
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import check_initial_weights
from models import checkpoint
from models.card import CheckpointError
from models.checkpoint import to_bytes

BAD = [float("nan"), float("inf"), float("-inf")]


def parts(value: float) -> tuple[ModelCard, dict[str, Tensor], dict[str, Tensor]]:
    """A card, whole weights, and weights with one bad number."""
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"image_size": 64, "base_channels": 4})
    whole = {name: tensor.clone() for name, tensor in variant.generator().state_dict().items()}
    bad = {name: tensor.clone() for name, tensor in whole.items()}
    next(tensor for tensor in bad.values() if tensor.dim() > 1).view(-1)[3] = value
    card = ModelCard(variant="pix2pix", config={"image_size": 64, "base_channels": 4, "target": "ab"})
    return card, whole, bad


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("which", ["weights", "raw"])
def test_weights_that_are_not_finite_are_not_published(tmp_path: Path, value: float, which: str) -> None:
    card, whole, bad = parts(value)
    weights, raw = (bad, whole) if which == "weights" else (whole, bad)
    with pytest.raises(CheckpointError, match=r"not finite.*weight"):
        publish(open_storage(str(tmp_path / "model")), card, to_bytes(weights), to_bytes(raw))
    assert not (tmp_path / "model").exists()


@pytest.fixture
def spoiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose weights are not finite, as an earlier version would publish it."""
    card, _, bad = parts(float("nan"))
    with monkeypatch.context() as patch:
        patch.setattr(models, "load", lambda *_: None)
        patch.setattr(model_folder, "require_finite", lambda *_: None, raising=False)
        publish(open_storage(str(tmp_path / "run/model")), card, to_bytes(bad))
    return str(tmp_path / "run/model")


def test_colorize_refuses_it_by_name(spoiled: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match=r"--model .*run/model.*not finite"):
        JobSettings.of(ColorizeConfig(model=spoiled, source=str(tmp_path), out=str(tmp_path / "out")))


def test_evaluate_refuses_it_by_name(spoiled: str) -> None:
    with pytest.raises(BadUsageError, match=r"--model .*run/model.*not finite"):
        find_candidates([spoiled])


def test_who_loads_it_all_the_same_is_told(spoiled: str) -> None:
    with pytest.raises(BadUsageError, match=r"--model .*run/model.*not finite"):
        load_model(spoiled)


def test_a_training_does_not_start_from_it(spoiled: str, tmp_path: Path) -> None:
    given = {"variant": "pix2pix", "image_size": 64, "base_channels": 4}
    config = TrainConfig(data=str(tmp_path), run=str(tmp_path / "other"), init=spoiled, **given)  # type: ignore[arg-type]
    with pytest.raises(BadUsageError, match=r"--init .*run/model.*not finite"):
        check_initial_weights(config)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", BAD)
def test_one_bad_number_is_found_in_any_kind_of_tensor(dtype: torch.dtype, value: float) -> None:
    large = torch.full((1000,), torch.finfo(dtype).max, dtype=dtype)  # finite, though its sum is not
    state = {"large": large, "count": torch.tensor(3), "empty": torch.zeros(0), "deep.weight": torch.zeros(40, 40)}
    checkpoint.require_finite(state)
    state["deep.weight"][3, 7] = value
    with pytest.raises(CheckpointError, match=r"deep\.weight"):
        checkpoint.require_finite(state)
