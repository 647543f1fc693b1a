"""A backend at work: in a process of its own, since the first import counts, and memory is taken away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import models
from datasets.errors import BadUsageError
from jobs.parts.model.backends import choice
from jobs.parts.model.backends.choice import Backend, BackendName
from jobs.parts.model.backends.compiled import run_on
from jobs.parts.model.backends.export import export
from tests.jobs.model.backends.installed import require_backend

CONFIG = {"base_channels": 16}
COMPILED = """
import os, sys, torch, models
from pathlib import Path
from jobs.parts.model.backends.choice import Backend, BackendName
from jobs.parts.model.backends.compiled import color_by
backend, config, model = sys.argv[1:]
variant = models.build("pix2pix", eval(config))
def compiled():
    color_by(variant, Backend(backend), Path(model).read_bytes(), 1)
"""
QUIET = """
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith("socket.") else None)
compiled()
variant.predict(torch.zeros(1, 1, 256, 256))
print(asked, "openvino_telemetry" in sys.modules, os.listdir(os.environ["HOME"]))
"""
SCARCE = """
import resource
compiled()
page, pages = torch.zeros(1, 1, 256, 256), torch.zeros(256, 1, 256, 256)
whole = variant.predict(page)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000,) * 2)
try:
    variant.predict(pages)
except MemoryError:
    print("scarce", torch.equal(variant.predict(page), whole))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported here: what an export leaves of free memory in a process would be there for a batch."""
    require_backend("onnx")
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    path.write_bytes(export(models.build("pix2pix", CONFIG).coloring()))
    return path


def ran(backend: BackendName, more: str, model: Path, home: Path) -> str:
    """The last line that a process prints."""
    require_backend(backend)
    command = [sys.executable, "-c", COMPILED + more, backend, str(CONFIG), str(model)]
    environment = {**os.environ, "HOME": str(home), "CI": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_nothing_is_sent_and_no_file_is_left(backend: BackendName, model: Path, tmp_path: Path) -> None:
    assert ran(backend, QUIET, model, tmp_path) == "[] False []"


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_batch_too_large_for_memory_is_told_and_the_next_one_goes_on(
    backend: BackendName, model: Path, tmp_path: Path
) -> None:
    assert ran(backend, SCARCE, model, tmp_path) == "scarce True"


def test_a_worker_without_the_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    variant = models.build("pix2pix", {"image_size": 32, "base_channels": 1})
    with pytest.raises(BadUsageError, match=r"--backend onnx: onnxruntime.*not installed here.*\[cpu\]"):
        run_on(Backend("onnx"), variant, {}, threads=1)


def test_torch_needs_nothing() -> None:
    variant = models.build("pix2pix", {"image_size": 32, "base_channels": 1})
    run_on(Backend(), variant, {}, threads=1)
    assert variant.predict(torch.zeros(1, 1, 32, 32)).shape == (1, 2, 32, 32)
