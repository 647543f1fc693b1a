"""Networks on OpenVINO."""

import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.color import F32

if TYPE_CHECKING:
    from jobs.parts.model.backends.compiled import Run


def compile_model(model: bytes, threads: int, *, bf16: bool) -> "Run":
    """An ONNX model compiled for the CPUs: one stream, so that all threads work on one batch.

    Threads are not bound to cores: other processes have their share of them.
    """
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "ENABLE_CPU_PINNING": False,
    }
    core = _openvino().Core()
    network = core.read_model(model)
    ready = [core.compile_model(network, "CPU", properties).create_infer_request()]

    def run(inputs: Mapping[str, F32]) -> F32:
        request = ready.pop() if ready else core.compile_model(network, "CPU", properties).create_infer_request()
        try:
            # Not `infer`: with one thread it swallows an error, and gives the last batch's output again.
            request.start_async(dict(inputs), share_inputs=True)
            request.wait()
            out = np.array(request.get_output_tensor().data, np.float32)
        except Exception:
            # One that has failed, for want of memory, keeps that memory and the sizes of the failed batch. It is let go
            # here: the error's traceback would hold it.
            del request
            raise
        ready.append(request)
        return out

    return run


@cache
def _openvino() -> Any:
    """The package without its telemetry, which would tell its maker of each import, and leave files in the user's home.

    OpenVINO works without the package that does so: while it is imported, that one is not to be found.
    """
    telemetry = "openvino_telemetry"
    there = telemetry in sys.modules
    sys.modules.setdefault(telemetry, None)  # type: ignore[arg-type]  # None: an import of it fails
    try:
        import openvino
    finally:
        if not there:
            del sys.modules[telemetry]
    return openvino
