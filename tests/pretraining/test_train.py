"""The training on a pack."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from imaging.color import U8, luma, to_lab
from models.exemplar import Exemplar, ExemplarConfig
from models.training import Mechanics, Training
from pretraining.examples import Batches, Sampler
from pretraining.pack import Pack, write_pack
from pretraining.sources import STORYBOOKS, Picture
from pretraining.train import LOG, MODEL, Run, batches, load_network, parse_settings, train

SIDE = 64
WAYS = ((), ("rare=0", "regression_weight=0"))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stories of six pictures, where dark is blue and light is orange."""
    rng = np.random.default_rng(0)
    pictures = []
    for number in range(12):
        light = np.kron(rng.random((6, 8)) < 0.5, np.ones((16, 16), bool))[..., None]
        rgb = np.where(light, (240, 170, 60), (30, 40, 160)).astype(np.uint8)
        pictures.append((Picture(STORYBOOKS, f"{number // 6}", f"{number:02}.jpg", "A"), rgb))
    path = tmp_path_factory.mktemp("pack") / "pack"
    write_pack(pictures, path, quality=90)
    return path


def begin(*settings: str) -> Training:
    torch.manual_seed(0)
    small = ("base_channels=8", "place_features=8", f"image_size={SIDE}")
    return Training(Exemplar(parse_settings((*small, *settings))), lambda module: module, Mechanics())


def go(training: Training, pack: Path, folder: Path, steps: int) -> None:
    dataset = Batches(pack, size=8, sides=(SIDE,), group=4, seed=0)
    train([(training, Run(folder))], dataset, steps=steps, seed=0, save_every=2)


@pytest.mark.parametrize("settings", WAYS)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    pack: Path, tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
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


def test_compared_trainings_see_the_same_and_must_stand_at_one_step(pack: Path, tmp_path: Path) -> None:
    go(begin(), pack, tmp_path / "one", 2)
    dataset = Batches(pack, size=8, sides=(SIDE,), group=4, seed=0)
    together = [(begin(), Run(tmp_path / name)) for name in ("two", "three")]
    train(together, dataset, steps=2, seed=0, save_every=2)
    alone, *both = ((tmp_path / name / MODEL).read_bytes() for name in ("one", "two", "three"))
    assert both == [alone, alone]

    train(together[:1], dataset, steps=4, seed=0, save_every=2)
    with pytest.raises(ValueError, match=r"steps \[2, 4\]"):
        train(together, dataset, steps=6, seed=0, save_every=2)


def test_batches_made_by_another_process_are_the_same(pack: Path) -> None:
    dataset = Batches(pack, size=8, sides=(SIDE,), group=4, seed=0)
    for ahead, here in zip(batches(dataset, 3, 5, 1), batches(dataset, 3, 5, 0), strict=True):
        assert all(torch.equal(ahead[name], here[name]) for name in here)


def test_it_learns_and_its_model_predicts_as_it_does(pack: Path, tmp_path: Path) -> None:
    training = begin("learning_rate=0.003")
    go(training, pack, tmp_path, 60)
    ink, truth = as_squares(Pack(pack)[0])
    chroma = training.variant.predict(ink)

    assert torch.corrcoef(torch.stack([chroma[0, 1].flatten(), truth.flatten()]))[0, 1] > 0.5
    published = load_network(tmp_path / MODEL)
    assert torch.allclose(published.predict(ink), chroma, atol=0.02)


def test_stories_are_left_out(pack: Path) -> None:
    sampler = Sampler(Pack(pack), 4, without=("1",))
    rng = np.random.default_rng(0)
    drawn = {number for _ in range(20) for page in sampler.draw(rng)[1] for number in page}
    assert drawn == {number for number, picture in enumerate(Pack(pack).pictures) if picture.story == "0"}


def test_a_batch_has_as_many_pixels_whatever_its_side(pack: Path) -> None:
    dataset = Batches(pack, size=16, sides=(64, 32), group=4, seed=0)
    shapes = {tuple(dataset[number]["gray"].shape) for number in range(8)}
    assert shapes == {(16, 1, 64, 64), (64, 1, 32, 32)}


def test_batches_are_small_when_they_are_sent_to_a_process(pack: Path) -> None:
    assert len(pickle.dumps(Batches(pack, size=8, sides=(SIDE,), group=4, seed=0))) < 1_000


def test_the_network_fits_the_budget() -> None:
    stored = sum(value.numel() for value in Exemplar(ExemplarConfig()).generator().state_dict().values())
    assert stored < 6e6


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match="binz=true"):
        parse_settings(("binz=true",))


def as_squares(rgb: U8) -> tuple[torch.Tensor, torch.Tensor]:
    """Ink (1, 1, S, S), and the b of its truth (S, S), of a picture's left top."""
    part = rgb[:SIDE, :SIDE]
    return torch.from_numpy(luma(part)).float()[None, None] / 127.5 - 1, torch.from_numpy(to_lab(part)[..., 2])
