"""Which backend a job takes: what is asked for, what its folder was begun with, what is installed."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from datasets.errors import BadUsageError
from jobs.parts.model.backends import choice
from jobs.parts.model.backends.choice import Backend, BackendName, choose_backend

Asked = Literal["auto", BackendName]
OPENVINO = {"backend": "openvino"}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The packages that are there; no GPU is."""
    there = {"torch", "onnx", "onnxscript", "onnxruntime", "openvino"}
    monkeypatch.setattr(choice, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(choice, "count_gpus", lambda: 0)
    monkeypatch.setattr(choice, "CPUINFO", Path("/nowhere"))
    return there


@pytest.mark.parametrize(
    ("asked", "begun", "chosen"),
    [
        ("auto", None, "openvino"),
        ("auto", {}, "torch"),  # a folder of before there were backends
        ("auto", OPENVINO, "openvino"),
        ("auto", {"backend": "onnx"}, "onnx"),
        ("torch", None, "torch"),
        ("torch", OPENVINO, "torch"),  # another job, which the ledger refuses
        ("onnx", {}, "onnx"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_what_is_taken(asked: Asked, begun: dict[str, Any] | None, chosen: str) -> None:
    assert choose_backend(asked, "cpu", "pix2pix", begun).name == chosen


def test_without_the_extra_auto_is_torch(installed: set[str]) -> None:
    installed -= {"onnx", "onnxscript", "onnxruntime", "openvino"}
    assert choose_backend("auto", "auto", "pix2pix", None) == Backend("torch")


@pytest.mark.parametrize("missing", ["openvino", "onnxscript"])
@pytest.mark.parametrize(("asked", "begun"), [("openvino", None), ("auto", OPENVINO)])
def test_a_package_that_is_missing_is_named(
    installed: set[str], asked: Asked, begun: dict[str, Any] | None, missing: str
) -> None:
    installed.remove(missing)
    with pytest.raises(BadUsageError, match=rf"--backend openvino: {missing} is not installed.*\[cpu\]"):
        choose_backend(asked, "cpu", "pix2pix", begun)


def test_half_of_the_extra_is_none_for_auto(installed: set[str]) -> None:
    installed.remove("onnx")
    assert choose_backend("auto", "cpu", "pix2pix", None) == Backend("torch")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_on_a_gpu_auto_is_torch(installed: set[str], device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "count_gpus", lambda: 1)
    assert choose_backend("auto", device, "pix2pix", None) == Backend("torch")
    installed.clear()
    assert choose_backend("auto", device, "pix2pix", OPENVINO).name == "openvino"  # kept, and not needed


@pytest.mark.usefixtures("installed")
def test_a_backend_of_cpus_is_refused_for_gpus() -> None:
    with pytest.raises(BadUsageError, match=r"--backend onnx.*--device cpu"):
        choose_backend("onnx", "cuda", "pix2pix", None)


@pytest.mark.usefixtures("installed")
def test_a_backend_of_a_later_version_is_refused() -> None:
    with pytest.raises(BadUsageError, match=r"--backend tvm.*not known"):
        choose_backend("auto", "cpu", "pix2pix", {"backend": "tvm"})


@pytest.mark.parametrize("flags", ["avx512f avx512_bf16 avx2", "amx_bf16 sse", "avx512f"])
@pytest.mark.usefixtures("installed")
def test_bf16_is_for_processors_that_have_it_and_variants_that_bear_it(
    flags: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse2\n")
    monkeypatch.setattr(choice, "CPUINFO", tmp_path / "cpuinfo")
    has_it = "bf16" in flags
    assert choose_backend("auto", "cpu", "zhang", None) == Backend("openvino", has_it)
    assert choose_backend("openvino", "cpu", "pix2pixhd", None) == Backend("openvino")
    assert choose_backend("onnx", "cpu", "zhang", None) == Backend("onnx")


@pytest.mark.parametrize("kept", [Backend("openvino", bf16=False), Backend("openvino", bf16=True)])
@pytest.mark.parametrize("asked", ["auto", "openvino"])
@pytest.mark.usefixtures("installed")
def test_another_processor_keeps_the_precision_of_the_folder(kept: Backend, asked: Asked) -> None:
    assert choose_backend(asked, "cpu", "zhang", kept.recorded()) == kept


@pytest.mark.parametrize("backend", [Backend(), Backend("openvino"), Backend("openvino", bf16=True), Backend("onnx")])
def test_a_backend_is_read_back_from_job_json(backend: Backend) -> None:
    assert Backend.from_recorded(backend.recorded()) == backend


def test_torch_leaves_no_entry() -> None:
    """Folders that exist keep their fingerprints."""
    assert Backend("torch").recorded() == {}


def test_the_choice_imports_no_backend() -> None:
    code = (
        "import sys; from jobs.parts.model.backends.choice import choose_backend as choose;"
        "choose('auto', 'cpu', 'zhang', None); print({'torch', 'openvino', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
