"""Which backend runs the network on CPUs. No backend is imported here, nor is PyTorch: a driver asks too."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from datasets.errors import BadUsageError
from jobs.parts.runtime.runner import count_gpus

log = logging.getLogger("mangahue")
BackendName = Literal["torch", "openvino", "onnx"]
BACKEND_HELP = (
    "What runs the network on CPUs; GPUs run torch. auto: as the folder was begun; of a new one openvino where the "
    "extra `cpu` is installed, else torch."
)
EXTRA = "pip install -e '.[cpu]'"
CPUINFO = Path("/proc/cpuinfo")
_PACKAGES = {"torch": ("torch",), "openvino": ("openvino", "onnx", "onnxscript"),
             "onnx": ("onnxruntime", "onnx", "onnxscript")}  # fmt: skip
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
# The variants whose pages in bfloat16 are those in float32 to a mean CIEDE2000 of 0.3; of exemplar those of the bundled
# model, from which its trainings start.
BF16_VARIANTS = ("exemplar", "hypercolumn", "pix2pix", "zhang")


@dataclass(frozen=True)
class Backend:
    """What runs the network on CPUs.

    name: of the backend.
    bf16: whether it computes in bfloat16 what it can, instead of in float32.
    """

    name: BackendName = "torch"
    bf16: bool = False

    def recorded(self) -> dict[str, Any]:
        """As job.json has it among the settings. Torch has no entry: it coloured all before there were others."""
        if self.name == "torch":
            return {}
        return {"backend": self.name, "precision": "bf16" if self.bf16 else "f32"}

    @classmethod
    def from_recorded(cls, settings: Mapping[str, Any]) -> "Backend":
        """The backend of a job.json's settings. Raises BadUsageError where this version knows none of that name."""
        name = settings.get("backend", "torch")
        if name not in get_args(BackendName):
            raise BadUsageError(f"--backend {name}, which --out was begun with, is not known here; update mangahue")
        return cls(name, settings.get("precision") == "bf16")

    def require(self) -> None:
        """Raises BadUsageError where a package that it needs is not installed."""
        if missing := self.missing():
            raise BadUsageError(
                f"--backend {self.name}: {', '.join(missing)} is not installed here; {EXTRA}, on every node, or take "
                "--backend torch"
            )

    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [package for package in _PACKAGES[self.name] if find_spec(package) is None]


def choose_backend(
    asked: Literal["auto", BackendName], device: str, variant: str, begun: Mapping[str, Any] | None
) -> Backend:
    """What --backend means for a job. The choice is logged.

    device: "cpu", "cuda" or "auto".
    variant: the model's.
    begun: the settings in the job.json of the output folder; None for a new folder.
    Raises BadUsageError where a package that the job needs is not installed here, or for a backend of CPUs on GPUs.
    """
    if device == "cuda" and asked not in ("auto", "torch"):
        raise BadUsageError(f"--backend {asked}: it runs networks on CPUs; take --device cpu, or --backend torch")
    on_gpu = device == "cuda" or (device == "auto" and count_gpus() > 0)
    kept = None if begun is None else Backend.from_recorded(begun)
    if kept is not None and asked in ("auto", kept.name):
        chosen = kept
    elif asked != "auto":
        chosen = _new(asked, variant)
    else:
        openvino = _new("openvino", variant)
        chosen = Backend() if on_gpu or openvino.missing() else openvino
    if not on_gpu:
        chosen.require()
        log.info("--backend %s: the network runs with %s%s", asked, chosen.name, ", in bf16" * chosen.bf16)
    return chosen


def _new(name: BackendName, variant: str) -> Backend:
    return Backend(name, bf16=name == "openvino" and variant in BF16_VARIANTS and has_bf16())


def has_bf16() -> bool:
    """Whether this processor computes in bfloat16 (Linux, proc(5))."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return False
    return any(_BF16_FLAGS & set(line.split()) for line in lines if line.startswith("flags"))
