"""The network alone on CPUs: each backend on the same squares, beside the machine's convolution peak in the same run.

The peak is the best rate of a few plain 3x3 convolutions in PyTorch, float32, of shapes that suit any processor. All
are measured in turn, round after round, each beside the peak of its round, so that what else the machine does hits all
alike; medians are told. Weights are untrained, which makes them no faster.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from jobs.parts.model.backends.choice import Backend, choose_backend
from jobs.parts.model.backends.compiled import color_by
from jobs.parts.model.backends.export import export
from jobs.parts.runtime.cores import available_cores

BATCHES = (1, 8)
SHAPES = ((8, 256, 64), (8, 128, 128), (1, 512, 64))  # of the plain convolutions: batch, channels, side
ROUNDS = 7
VARIANTS = ("pix2pix", "exemplar", "zhang")


def time_network() -> dict[str, Any]:
    """Squares a second of each variant in its published size, backend and batch, and its share of the peak.

    OpenVINO computes in the precision that a job would choose here, and in float32.
    """
    torch.set_num_threads(available_cores())
    runs, flops = plain_convolutions()
    plain = tuple(runs)
    for name in VARIANTS:
        torch.manual_seed(0)
        model = export(models.build(name, {}).coloring())
        chosen = dict.fromkeys([Backend(), choose_backend("openvino", "cpu", name, None), Backend("openvino"),
                                Backend("onnx")])  # fmt: skip
        for backend in chosen:
            variant = models.build(name, {})
            variant.generator().to(memory_format=torch.channels_last)
            if backend.name != "torch":
                color_by(variant, backend, model, available_cores())
            for batch in BATCHES:
                ink = torch.rand(batch, 1, variant.image_size, variant.image_size) * 2 - 1
                key = f"{name}, {backend.name}{' bf16' * backend.bf16}, {batch}"
                runs[key] = lambda variant=variant, ink=ink: variant.predict(ink)  # type: ignore[misc]
                flops[key] = count_flops(runs[key]) if backend.name == "torch" else flops[f"{name}, torch, {batch}"]
    times = in_turn(runs)
    rates = {key: [flops[key] / seconds for seconds in times[key]] for key in runs}
    peaks = [max(rates[key][number] for key in plain) for number in range(ROUNDS)]
    timed = [key for key in runs if key not in plain]
    median = statistics.median
    return {
        "peak_gflops": median(peaks) / 1e9,
        "squares_per_second": {key: int(key.split()[-1]) / median(times[key]) for key in timed},
        "share": {key: median(rate / peak for rate, peak in zip(rates[key], peaks, strict=True)) for key in timed},
    }


def plain_convolutions() -> tuple[dict[str, Callable[[], Any]], dict[str, float]]:
    """What runs each plain convolution, and its floating point operations."""
    runs: dict[str, Callable[[], Any]] = {}
    for batch, channels, side in SHAPES:
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)
        images = torch.rand(batch, channels, side, side).to(memory_format=torch.channels_last)
        runs[f"{batch}x{channels}x{side}"] = lambda layer=layer, images=images: layer(images)  # type: ignore[misc]
    return runs, {key: count_flops(run) for key, run in runs.items()}


@torch.inference_mode()
def in_turn(runs: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Seconds of each run in each round, each time after one like it, which finds the caches full of something else.

    The first round, in which plans are made, is left out.
    """
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(ROUNDS + 1):
        for key, run in runs.items():
            run()
            begun = time.perf_counter()
            run()
            times[key].append(time.perf_counter() - begun)
    return {key: each[1:] for key, each in times.items()}


def count_flops(run: Callable[[], Any]) -> float:
    """Two for each multiplication with its addition."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def as_table(network: dict[str, Any]) -> str:
    """The figures as a table of Markdown."""
    head = [
        f"Convolution peak {network['peak_gflops']:.0f} GFLOP/s.\n",
        "| network, backend, batch | squares/s | share of the convolution peak |",
        "| --- | --- | --- |",
    ]
    rates, shares = network["squares_per_second"], network["share"]
    return "\n".join([*head, *(f"| {key} | {rate:.1f} | {shares[key]:.2f} |" for key, rate in rates.items())])
