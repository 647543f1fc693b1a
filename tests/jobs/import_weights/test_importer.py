"""import_weights.py as it is called. A public code's file goes in; the same outputs, and a model that colours, come
out.
"""

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner, Result
from torch import Tensor

from datasets.storage import open_storage
from jobs.import_weights import cli
from jobs.parts.model.folder import load_model, read_card
from models.color import lightness
from tests import public_generators as public
from tests.public_generators import Shapes, State, random_state


@dataclass(frozen=True)
class Case:
    """A public generator: its code, the shapes of its state, its forward pass, images for it, and our config for it."""

    source: str
    shapes: Shapes
    forward: Callable[[State, Tensor], Tensor]
    images: tuple[int, int, int, int]
    config: dict[str, Any]


def unet(inputs: int, outputs: int, width: int, depth: int) -> Case:
    shapes = public.unet_shapes(inputs, outputs, width, depth)
    config = {"in_channels": inputs, "target": {2: "ab", 3: "rgb"}[outputs], "base_channels": width}
    side = 2**depth
    return Case("pix2pix", shapes, lambda s, x: public.unet(s, x, depth), (2, inputs, side, side), config)


def resnet(width: int, blocks: int) -> Case:
    shapes = public.resnet_shapes(3, 3, width, 2, blocks)
    config = {"generator": "resnet", "base_channels": width, "blocks": blocks}
    return Case("cyclegan", shapes, lambda s, x: public.resnet(s, x, 2, blocks), (2, 3, 48, 64), config)


def global_generator(inputs: int, outputs: int, width: int, blocks: int) -> Case:
    shapes = public.resnet_shapes(inputs, outputs, width, 4, blocks)
    config = {"in_channels": inputs, "target": {2: "ab", 3: "rgb"}[outputs], "base_channels": width, "blocks": blocks}
    return Case("pix2pixhd", shapes, lambda s, x: public.resnet(s, x, 4, blocks), (2, inputs, 64, 96), config)


def local_enhancer(width: int, blocks: int, local_blocks: int) -> Case:
    shapes = public.enhancer_shapes(3, 3, width, blocks, local_blocks)
    config = {"base_channels": 2 * width, "blocks": blocks, "local_blocks": local_blocks}
    return Case("pix2pixhd", shapes, lambda s, x: public.enhancer(s, x, blocks, local_blocks), (2, 3, 64, 96), config)


CASES = {
    "unet": unet(3, 3, 4, depth=6),
    "unet 256": unet(3, 3, 2, depth=8),
    "unet of L and ab": unet(1, 2, 4, depth=5),
    "resnet": resnet(4, blocks=9),
    "resnet of 6 blocks": resnet(6, blocks=6),
    "global": global_generator(3, 3, 4, blocks=9),
    "global of L and ab": global_generator(1, 2, 2, blocks=2),
    "local": local_enhancer(2, blocks=9, local_blocks=3),
    "local of other depths": local_enhancer(3, blocks=2, local_blocks=4),
    "eccv16": Case("zhang", public.eccv16_shapes(4, 30), public.eccv16, (2, 1, 64, 96), {"bins": 30, "temperature": 1}),
    "berserk": Case(
        "berserk",
        public.berserk_shapes(4, 9),
        lambda s, x: public.berserk(s, x, 9),
        (2, 3, 64, 96),
        {"generator": "skip", "base_channels": 4, "blocks": 9},
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def images_for(case: Case) -> Tensor:
    images = torch.rand(case.images, generator=torch.Generator().manual_seed(1))
    return 100 * images if case.source == "zhang" else 2 * images - 1


def run(case: Case, folder: Path, state: object, *more: str, name: str = "net.pth") -> Result:
    torch.save(state, folder / name)
    return call(case.source, folder, *more, name=name)


def call(source: str, folder: Path, *more: str, name: str = "net.pth") -> Result:
    given = ["--from", source, "--weights", str(folder / name), "--out", str(folder / "model"), *more]
    return CliRunner().invoke(cli, given)


def refused(result: Result, caplog: pytest.LogCaptureFixture) -> str:
    """The message for a bad call."""
    assert result.exit_code == 2
    return result.output + caplog.text


# The same weights and the same input give the same output.


@each_case
def test_the_raw_network_gives_what_the_public_one_gives(case: Case, tmp_path: Path) -> None:
    state, images = random_state(case.shapes), images_for(case)
    np.save(tmp_path / "in.npy", images.numpy())

    result = run(case, tmp_path, state, "--run", str(tmp_path / "in.npy"), "--save", str(tmp_path / "out.npy"))

    assert result.exit_code == 0, result.output
    colors = np.load(tmp_path / "out.npy")
    expected = case.forward(state, images).numpy()
    assert colors.dtype == np.float32
    assert colors.shape == expected.shape
    assert float(expected.std()) > 0.01
    np.testing.assert_allclose(colors, expected, atol=1e-4, rtol=0)


def public_colors(case: Case, state: State, ink: Tensor) -> Tensor:
    """How the public network colours ink in [-1, 1]. The imported model must do the same."""
    if case.source == "zhang":
        return (case.forward(state, lightness(ink)) / 110).clamp(-1, 1)
    repeated = ink.expand(-1, case.images[1], -1, -1)
    if case.source == "pix2pixhd" and "model1_1.1.weight" not in state:  # this network sees the page at half size
        half = F.avg_pool2d(repeated, 3, 2, 1, count_include_pad=False)
        return F.interpolate(case.forward(state, half), scale_factor=2, mode="bilinear")
    return case.forward(state, repeated)


@each_case
def test_the_model_colours_as_the_public_network_does(case: Case, tmp_path: Path) -> None:
    state = random_state(case.shapes)
    assert run(case, tmp_path, state).exit_code == 0

    variant = load_model(str(tmp_path / "model"))

    side = 64 if variant.name == "pix2pixhd" else min(64, variant.image_size)
    side = max(side, variant.image_size if variant.name == "pix2pix" else 0)
    ink = torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(2)) * 2 - 1
    torch.testing.assert_close(variant.predict(ink), public_colors(case, state, ink), atol=1e-4, rtol=0)


@each_case
def test_the_card_is_that_of_a_model(case: Case, tmp_path: Path) -> None:
    assert run(case, tmp_path, random_state(case.shapes)).exit_code == 0

    card = read_card(str(tmp_path / "model"))

    assert {key: card["config"][key] for key in case.config} == case.config
    assert card["variant"] == {"berserk": "cyclegan"}.get(case.source, case.source)
    assert card["origin"]["imported"]["from"] == case.source
    assert (card["steps"], card["seconds"], card["metrics"], card["training"]) == (0, 0.0, {}, {})
    assert (card["data_fingerprint"], card["mean_chroma"], card["limits"]) == ("", [0, 0], {})


# One file is one model.


@pytest.mark.parametrize("case", [CASES["resnet"], CASES["global"], CASES["local"]])
def test_the_same_file_is_the_same_model_again(case: Case, tmp_path: Path) -> None:
    """This includes parts that the file lacks, such as the enhancer beside a GlobalGenerator."""
    state = random_state(case.shapes)
    assert run(case, tmp_path, state).exit_code == 0
    first = [(tmp_path / "model" / name).read_bytes() for name in ("model.json", "model.safetensors")]
    torch.rand(3)

    assert run(case, tmp_path, state).exit_code == 0

    assert [(tmp_path / "model" / name).read_bytes() for name in ("model.json", "model.safetensors")] == first


def test_another_model_is_not_overwritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case = CASES["resnet"]
    assert run(case, tmp_path, random_state(case.shapes)).exit_code == 0
    before = (tmp_path / "model" / "model.safetensors").read_bytes()

    told = refused(run(case, tmp_path, random_state(case.shapes, seed=5)), caplog)

    assert "--out" in told
    assert "another model" in told
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


# Files that are not what they should be.


class _Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.mark, "run")


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mark, file = tmp_path / "mark", tmp_path / "net.pth"
    state = {**random_state(CASES["resnet"].shapes), "extra": _Malicious(mark)}
    if kind == "bare pickle":
        file.write_bytes(pickle.dumps(_Malicious(mark), protocol=2))
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")

    told = refused(call("cyclegan", tmp_path), caplog)

    assert not mark.exists()
    assert not (tmp_path / "model").exists()
    assert "net.pth" in told
    assert "code" in told
    assert "torch.save(model.state_dict()" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (b"", "torch.save"),
        (b"<html>404</html>", "torch.save"),
        (b"PK\x03\x04 cut short", "damaged"),
        (b"\x80\x02 cut short", "damaged"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused(
    content: bytes, fix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "net.pth").write_bytes(content)

    told = refused(call("pix2pix", tmp_path), caplog)

    assert "net.pth" in told
    assert fix in told
    assert "Traceback" not in told


def test_a_file_that_is_not_there_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = refused(call("pix2pix", tmp_path), caplog)

    assert "--weights" in told
    assert "net.pth" in told


@each_case
def test_missing_unknown_and_misshapen_keys_are_all_listed(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = random_state(case.shapes)
    gone, bent = sorted(key for key in state if key.endswith("weight"))[1:3]
    del state[gone]
    state[bent] = state[bent][None]
    state["palette.weight"] = torch.zeros(2)

    told = refused(run(case, tmp_path, state), caplog)

    assert f"missing: {gone}" in told
    assert "unknown: palette.weight" in told
    assert f"{bent} (" in told
    assert not (tmp_path / "model").exists()


def test_the_weights_of_another_network_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = refused(run(CASES["unet"], tmp_path, random_state(CASES["eccv16"].shapes)), caplog)

    assert "pix2pix" in told
    assert "model.model.0.weight" in told
    assert "model1.0.weight" in told
    assert "more" in told  # more than 20 keys are wrong


def test_an_output_that_no_generator_has_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = public.unet_shapes(3, 1, 4, 5)

    told = refused(run(CASES["unet"], tmp_path, random_state(shapes)), caplog)

    assert "1 channels" in told


def test_an_input_that_ink_can_not_be_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """pix2pixHD's street scenes start from 36 channels of labels."""
    told = refused(run(CASES["global"], tmp_path, random_state(public.resnet_shapes(36, 3, 4, 4, 1))), caplog)

    assert "in_channels is 36" in told


# The images of --run.


def test_run_and_save_go_together(tmp_path: Path) -> None:
    for one, other in (("--run", "--save"), ("--save", "--run")):
        result = call("pix2pix", tmp_path, one, "x.npy")

        assert result.exit_code == 2
        assert f"{other} is ''" in result.output


@pytest.mark.parametrize(
    ("images", "fix"),
    [
        (np.zeros((2, 3, 64, 64)), "float32"),
        (np.zeros((3, 64, 64), np.float32), "N x C x H x W"),
        (np.zeros((2, 1, 64, 64), np.float32), "takes 3"),
        (np.zeros((2, 3, 60, 64), np.float32), "60 x 64"),
        (np.array([None]), "not an .npy array"),
    ],
    ids=["float64", "three axes", "one channel", "odd size", "pickled"],
)
def test_images_that_the_network_can_not_take_are_refused(
    images: np.ndarray, fix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "in.npy", images)
    more = ("--run", str(tmp_path / "in.npy"), "--save", str(tmp_path / "out.npy"))

    told = refused(run(CASES["unet"], tmp_path, random_state(CASES["unet"].shapes), *more), caplog)

    assert "in.npy" in told
    assert fix in told
    assert not (tmp_path / "out.npy").exists()
    assert not (tmp_path / "model").exists()


def test_weights_and_model_may_be_in_a_bucket(s3: str) -> None:
    buffer, case = io.BytesIO(), CASES["resnet"]
    torch.save(random_state(case.shapes), buffer)
    open_storage(s3).put("net.pth", buffer.getvalue())

    result = CliRunner().invoke(cli, ["--from", "cyclegan", "--weights", f"{s3}/net.pth", "--out", f"{s3}/run/model"])

    assert result.exit_code == 0, result.output
    assert json.loads(open_storage(s3).read("run/model/model.json"))["variant"] == "cyclegan"


def test_help_names_the_codes() -> None:
    told = " ".join(CliRunner().invoke(cli, ["--help"]).output.split())

    assert "--from [pix2pix|cyclegan|pix2pixhd|zhang|berserk]" in told
    assert "[required]" in told


@each_case
def test_weights_that_are_not_finite_are_refused(case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = random_state(case.shapes)
    spoiled = sorted(key for key in state if key.endswith("weight"))[0]
    state[spoiled].view(-1)[0] = float("nan")

    told = refused(run(case, tmp_path, state), caplog)

    assert "--weights" in told
    assert "net.pth" in told
    assert "not finite" in told
    assert not (tmp_path / "model").exists()
