"""benchmarks.gpu on a CPU with tiny networks: what a machine with a GPU runs is tried from end to end."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from benchmarks import gpu
from jobs.parts.runtime import ROOT
from models.exemplar import Exemplar
from models.pix2pix import Pix2Pix

CPU = torch.device("cpu")
NEEDED = ("torch", "torchvision", "safetensors", "opencv-python-headless", "numpy", "pillow")
# Python finds what an environment of these packages has, and nothing else.
BARE = """
import importlib.metadata, re, sys

def needed(names):
    found, left = set(), list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", re.match(r"[\\w.-]+", left.pop())[0]).lower()
        if name not in found:
            found.add(name)
            try:
                required = importlib.metadata.requires(name) or ()
            except importlib.metadata.PackageNotFoundError:  # of another system
                continue
            left += [line for line in required if "extra ==" not in line]
    return found

there = needed({needed!r})
owners = importlib.metadata.packages_distributions()

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        own = {{re.sub(r"[-_.]+", "-", owner).lower() for owner in owners.get(name, ())}}
        hidden = own and not own & there and name not in ("models", "imaging")
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def in_a_bare_environment(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code that finds no package but those which the script needs."""
    whole = BARE.format(needed=NEEDED) + code
    return subprocess.run([sys.executable, "-c", whole], cwd=ROOT, capture_output=True, text=True)


def test_the_environment_is_bare() -> None:
    absent = ("ray", "click", "torchmetrics", "pyarrow")
    assert metadata.packages_distributions().keys() >= {*absent}
    code = f"import torch, torchvision, safetensors, cv2, numpy, PIL\nfor name in {absent}:\n    "
    code += "try: __import__(name)\n    except ModuleNotFoundError as error: print(error.name)"
    ran = in_a_bare_environment(code)
    assert (ran.stdout.split(), ran.stderr) == ([*absent], "")


def test_it_runs_with_pytorch_and_opencv_alone(tmp_path: Path) -> None:
    out = tmp_path / "figures/gpu.json"
    ran = in_a_bare_environment(
        "import models\nfrom models.hypercolumn import Hypercolumn\n"  # of torchvision's layers
        "models.VARIANTS.clear()\nmodels.VARIANTS['hypercolumn'] = Hypercolumn\n"
        "from benchmarks.gpu import main\n"
        f"sys.exit(main(['--device', 'cpu', '--out', {str(out)!r}]))"
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(out.read_text())
    assert told["torch"] == torch.__version__
    assert [(row["variant"], row["precision"]) for row in told["training"]] == [
        ("hypercolumn", "fp32"), ("hypercolumn", "bf16"),
    ]  # fmt: skip
    assert [row["image_size"] for row in told["colors"]] == [64, 64, 96, 96]
    assert all(row["speed"]["rate"] > 0 and 0 < row["speed"]["busy"] <= 1 for row in told["training"] + told["colors"])
    assert "| hypercolumn | bf16 |" in ran.stdout


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    assert "PyTorch finds no GPU here" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pix2pix", "exemplar"])
def test_the_same_training_has_the_same_losses(name: str) -> None:
    rows = list(gpu.time_training(name, CPU, gpu.TINY))
    assert [(row.precision, row.right) for row in rows] == [("fp32", True), ("bf16", True)]
    assert rows[0].apart == 0  # the baseline again
    assert rows[1].apart > 0


@pytest.mark.parametrize("name", ["pix2pix", "exemplar"])
def test_a_step_draws_the_same_whatever_was_drawn_before(name: str) -> None:
    losses = []
    for seed in (1, 2):
        training = gpu.trainee(name, "fp32", CPU, gpu.TINY)
        torch.manual_seed(seed)
        losses.append(gpu.step(training, gpu.TINY, 3))
    assert losses[0] == losses[1]


def test_no_mask_is_drawn_where_it_would_be_another_on_a_gpu() -> None:
    variant = gpu.build("pix2pix", gpu.TINY, 64)
    ink, _ = gpu.pages(variant.target, 2, 64)
    generator = variant.generator().train()
    assert torch.equal(generator(ink), generator(ink))


def test_fp16_leaves_out_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gpu.fitting_scale("pix2pix", CPU, gpu.TINY)
    assert found < 65536 / 4, "the rehearsal had nothing to lower"
    monkeypatch.setattr(gpu, "fitting_scale", lambda *arguments: found)
    _, baseline = gpu.train("pix2pix", "fp32", CPU, gpu.TINY)
    training, losses = gpu.train("pix2pix", "fp16", CPU, gpu.TINY)
    assert float(training.state()[gpu.LOSS_SCALE]) == found
    assert 0 < gpu.distance(losses, baseline) <= gpu.TOLERANCES["fp16"]


def test_losses_that_are_not_the_baseline_s_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that has other weights."""
    monkeypatch.setattr(models, "VARIANTS", {"pix2pix": Pix2Pix})
    real, built = gpu.trainee, []

    def trainee(*arguments: Any) -> models.Training:
        training = real(*arguments)
        built.append(training)
        if len(built) == 2:  # after the baseline's
            torch.nn.init.normal_(next(training.variant.networks["discriminator"].parameters()))
        return training

    monkeypatch.setattr(gpu, "trainee", trainee)
    assert gpu.main(["--device", "cpu", "--out", str(tmp_path / "gpu.json")]) == 1
    printed = capsys.readouterr()
    assert "(above 1%)" in printed.out
    assert "pix2pix in fp32: a loss is " in printed.err
    assert "pix2pix in bf16" not in printed.err


def test_the_worst_loss_counts() -> None:
    baseline = [{"l1": 2.0, "gan": 0.0}, {"l1": 1.0, "gan": 1.0}]
    assert gpu.distance(baseline, baseline) == 0
    assert gpu.distance([baseline[0], {"l1": 1.1, "gan": 0.8}], baseline) == pytest.approx(0.2)
    assert gpu.distance([{"l1": 2.0, "gan": 0.001}, baseline[1]], baseline) == pytest.approx(0.1)  # of LEAST
    assert gpu.distance([baseline[0], {"l1": math.nan, "gan": 1.0}], baseline) == math.inf


def test_a_batch_is_halved_until_it_fits() -> None:
    tried = []

    def work(batch: int) -> gpu.Speed:
        tried.append(batch)
        if batch > fits:
            raise torch.OutOfMemoryError
        return gpu.Speed(batch, None, None)

    for fits, expected in ((8, [8]), (3, [8, 4, 2]), (0, [8, 4, 2, 1])):
        tried.clear()
        batch, speed = gpu.largest_batch(8, work)
        assert tried == expected
        assert batch == speed.rate == (expected[-1] if fits else 0)


def test_each_moment_is_busy_once() -> None:
    assert gpu.covered([]) == 0
    assert gpu.covered([(5, 6), (0, 2), (1, 3), (1.5, 1.75)]) == 4


def test_a_variant_that_follows_pages_has_one_to_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    real = Exemplar.look_at
    monkeypatch.setattr(Exemplar, "look_at", lambda self, *pages: (shown.append(len(pages[0])), real(self, *pages)))
    rows = list(gpu.time_colors("exemplar", CPU, replace(gpu.TINY, color_sizes=(64,))))
    assert [(row.precision, row.batch) for row in rows] == [("fp32", 2), ("bf16", 2)]
    assert shown == [1, 1]
