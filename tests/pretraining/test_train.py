"""The training on a pack."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.color import U8, luma, to_lab
from models.training import Mechanics, Training
from pretraining.examples import Batches
from pretraining.network import BinsHead, Network, NetworkConfig
from pretraining.pack import Pack, write_pack
from pretraining.sources import STORYBOOKS, Picture
from pretraining.train import LOG, MODEL, Run, batches, load_network, parse_settings, train

SIDE = 64
WAYS = (("rare=0.5",), ("bins=true", "rare=0.5"), ("bins=true", "regression_weight=0.1"), ("critic_weight=1.0",))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Two stories of six pictures, where dark is blue and light is orange."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(12):
        light = np.kron(rng.random((6, 8)) < 0.5, np.ones((16, 16), bool))[..., None]
        rgb = np.where(light, (240, 170, 60), (30, 40, 160)).astype(np.uint8)
        pictures.append((Picture(STORYBOOKS, f"{number // 6}", f"{number:02}.jpg", "A"), rgb))
    path = tmp_path_factory.mktemp("pack") / "pack"
    write_pack(pictures, path, quality=90)
    return Pack(path)


def begin(*settings: str) -> Training:
    torch.manual_seed(0)
    small = ("base_channels=8", "place_features=8", f"image_size={SIDE}")
    return Training(Network(parse_settings((*small, *settings))), lambda module: module, Mechanics())


def go(training: Training, pack: Pack, folder: Path, steps: int) -> None:
    dataset = Batches(pack, size=8, side=SIDE, group=4, seed=0)
    train([(training, Run(folder))], dataset, steps=steps, seed=0, save_every=2)


@pytest.mark.parametrize("settings", WAYS)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    pack: Pack, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = begin(*settings)
    go(whole, pack, tmp_path / "whole", 6)

    stopped = begin(*settings)
    real, steps = Training.step, []

    def step(training: Training, *inputs: torch.Tensor, **more: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(1)
        return real(training, *inputs, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "step", step)
        with pytest.raises(KeyboardInterrupt):
            go(stopped, pack, tmp_path / "stopped", 6)
    again = begin(*settings)
    go(again, pack, tmp_path / "stopped", 6)

    one, other = whole.state(), again.state()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [json.loads(row)["step"] for row in (tmp_path / "stopped" / LOG).read_text().splitlines()] == [6]


def test_compared_trainings_see_the_same_and_must_stand_at_one_step(pack: Pack, tmp_path: Path) -> None:
    go(begin(), pack, tmp_path / "one", 2)
    dataset = Batches(pack, size=8, side=SIDE, group=4, seed=0)
    together = [(begin(), Run(tmp_path / name)) for name in ("two", "three")]
    train(together, dataset, steps=2, seed=0, save_every=2)
    alone, *both = ((tmp_path / name / MODEL).read_bytes() for name in ("one", "two", "three"))
    assert both == [alone, alone]

    train(together[:1], dataset, steps=4, seed=0, save_every=2)
    with pytest.raises(ValueError, match=r"steps \[2, 4\]"):
        train(together, dataset, steps=6, seed=0, save_every=2)


def test_batches_made_by_another_process_are_the_same(pack: Pack) -> None:
    dataset = Batches(pack, size=8, side=SIDE, group=4, seed=0)
    for ahead, here in zip(batches(dataset, 3, 5, 1), batches(dataset, 3, 5, 0), strict=True):
        assert all(torch.equal(ahead[name], here[name]) for name in here)


@pytest.mark.parametrize("settings", [("rare=0.5",), ("bins=true", "regression_weight=0.1")])
def test_it_learns_and_its_model_predicts_as_it_does(pack: Pack, tmp_path: Path, settings: tuple[str, ...]) -> None:
    training = begin(*settings, "learning_rate=0.003", "frozen_stages=0")
    go(training, pack, tmp_path, 60)
    ink, truth = as_squares(pack[0])
    chroma = training.variant.predict(ink)

    assert torch.corrcoef(torch.stack([chroma[0, 1].flatten(), truth.flatten()]))[0, 1] > 0.5
    published = load_network(tmp_path / MODEL)
    assert torch.allclose(published.predict(ink), chroma, atol=0.02)


def test_the_frozen_stages_keep_their_weights_and_the_others_learn(pack: Pack, tmp_path: Path) -> None:
    training = begin("frozen_stages=3")
    before = {name: value.clone() for name, value in training.variant.networks["network"].named_parameters()}
    go(training, pack, tmp_path, 2)

    kept = ("encoder.stem", "encoder.stages.0", "encoder.stages.1.", "encoder.stages.2")
    for name, value in training.variant.networks["network"].named_parameters():
        if name.startswith(kept):
            assert torch.equal(value, before[name]), name
    learnt = training.variant.networks["network"].get_parameter("encoder.stages.3.0.layers.0.0.weight")
    assert not torch.equal(learnt, before["encoder.stages.3.0.layers.0.0.weight"])


def test_labels_by_table_are_those_of_the_bins() -> None:
    head = BinsHead(20.0, 0.38)
    target = torch.randint(-90, 91, (2, 2, 5, 5)).float() / 110
    nearest, shares = head.labels(target)
    indices, weights = head.bins.encode(target * 110, 4, 10.0)

    assert torch.equal(nearest[:, 0], indices[:, 0]) or torch.allclose(shares[:, 0], weights[:, 0])
    assert torch.allclose(shares, weights, atol=1e-5)


def test_the_network_fits_the_budget() -> None:
    stored = sum(value.numel() for value in Network(NetworkConfig(bins=True)).generator().state_dict().values())
    assert stored < 6e6


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match="binz=true"):
        parse_settings(("binz=true",))


def as_squares(rgb: U8) -> tuple[torch.Tensor, torch.Tensor]:
    """Ink (1, 1, S, S), and the b of its truth (S, S), of a picture's left top."""
    part = rgb[:SIDE, :SIDE]
    return torch.from_numpy(luma(part)).float()[None, None] / 127.5 - 1, torch.from_numpy(to_lab(part)[..., 2])
