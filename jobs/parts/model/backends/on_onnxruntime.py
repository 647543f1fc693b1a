"""Networks on ONNX Runtime."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imaging.color import F32

if TYPE_CHECKING:
    from jobs.parts.model.backends.compiled import Run


def load_session(model: bytes, threads: int) -> "Run":
    """An ONNX model on the CPUs. Threads that wait sleep: other processes have their share of the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, F32]) -> F32:
        out: F32 = session.run(None, dict(inputs))[0]
        return out

    return run
