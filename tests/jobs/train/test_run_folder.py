"""Whose run folder it is: that of one training, with its settings, its pages, and the weights it started from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from datasets.errors import BadUsageError
from datasets.shards import ShardSet
from datasets.storage import open_storage
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import check_initial_weights, load_initial_weights
from jobs.parts.train.run_folder import claim_run
from tests.jobs.train.test_initial_weights import other, vgg16

__all__ = ["other", "vgg16"]  # fixtures
SHARDS = ShardSet("shards", {"fingerprint": "a1" * 32})


def claim(folder: Path, **options: Any) -> dict[str, Any]:
    """Claim the folder as jobs/train.py does. Returns what its config.json then says."""
    config = TrainConfig(data="shards", run=str(folder / "run"), base_channels=4, image_size=64, **options)
    claim_run(open_storage(config.run), config, SHARDS, check_initial_weights(config))
    return json.loads((folder / "run/config.json").read_text())


def retrain(model: Path) -> None:
    """Put other weights into a model's folder, as a longer training does."""
    torch.manual_seed(6)
    variant = models.build("pix2pix", {"base_channels": 4, "image_size": 64})
    (model / "model.raw.safetensors").write_bytes(models.checkpoint.to_bytes(variant.generator().state_dict()))


def test_the_same_command_takes_a_run_up_again(tmp_path: Path, other: Path) -> None:
    first = claim(tmp_path, variant="pix2pix", init=str(other))
    assert claim(tmp_path, variant="pix2pix", init=str(other), max_steps=9)["origin"] == first["origin"]


def test_a_model_that_was_retrained_starts_another_training(tmp_path: Path, other: Path) -> None:
    first = claim(tmp_path, variant="pix2pix", init=str(other))
    retrain(other)
    with pytest.raises(BadUsageError) as refusal:
        claim(tmp_path, variant="pix2pix", init=str(other))
    for part in (f"--init {other}", "other weights", first["origin"]["init"]["weights_sha256"][:12], "another folder"):
        assert part in str(refusal.value)
    assert json.loads((tmp_path / "run/config.json").read_text()) == first


def test_vgg_weights_that_changed_start_another_training(tmp_path: Path, vgg16: Path) -> None:
    def claim_colornet() -> None:
        config = TrainConfig(data="shards", run=str(tmp_path / "run"), variant="colornet", vgg_weights=str(file))
        claim_run(open_storage(config.run), config, SHARDS, check_initial_weights(config))

    file = tmp_path / "vgg16.pth"
    file.write_bytes(vgg16.read_bytes())
    claim_colornet()
    state = torch.load(file, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, file)
    with pytest.raises(BadUsageError, match=rf"--vgg-weights {file} holds other weights"):
        claim_colornet()


def test_installed_weights_that_changed_start_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(data="shards", run=str(tmp_path / "run"), variant="exemplar", init="none")
    run, origin = open_storage(config.run), check_initial_weights(config)
    claim_run(run, config, SHARDS, origin)
    claim_run(run, config, SHARDS, origin)
    origin = {"pretrained": {**origin["pretrained"], "weights": "0" * 64}}
    with pytest.raises(
        BadUsageError, match=r"the installed efficientnet_lite0 holds other weights \(\w{12} there, 0{12}"
    ):
        claim_run(run, config, SHARDS, origin)


def test_a_run_of_the_version_before_is_taken_up_and_notes_its_weights(tmp_path: Path, other: Path) -> None:
    first = claim(tmp_path, variant="pix2pix", init=str(other))
    del first["origin"]  # it recorded none
    (tmp_path / "run/config.json").write_text(json.dumps(first))
    assert "init" in claim(tmp_path, variant="pix2pix", init=str(other))["origin"]
    retrain(other)
    with pytest.raises(BadUsageError, match="other weights"):
        claim(tmp_path, variant="pix2pix", init=str(other))


def test_a_plain_start_needs_no_weights(tmp_path: Path) -> None:
    assert claim(tmp_path, variant="pix2pix")["origin"] == {}
    assert claim(tmp_path, variant="pix2pix")["origin"] == {}


def test_a_worker_starts_from_the_weights_that_the_driver_saw(other: Path) -> None:
    config = TrainConfig(data="shards", run="run", variant="pix2pix", base_channels=4, image_size=64, init=str(other))
    origin = check_initial_weights(config)
    variant = models.build("pix2pix", {"base_channels": 4, "image_size": 64})
    load_initial_weights(variant, config, origin, resumed=False)
    retrain(other)
    with pytest.raises(BadUsageError, match=f"--init {other} holds other weights"):
        load_initial_weights(variant, config, origin, resumed=False)
    load_initial_weights(variant, config, origin, resumed=True)  # its checkpoint has all that it needs of them
