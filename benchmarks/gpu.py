"""Each variant on a GPU: whether its losses are the CPU's, and how fast it trains and colours.

    python -m benchmarks.gpu [--out build/gpu.json]
    python -m benchmarks.gpu --device cpu      # a try-out with tiny networks, on a machine without a GPU

It needs torch, torchvision, safetensors, OpenCV, NumPy and Pillow alone: mangahue need not be installed, and neither
need Ray. Networks have their published widths and random weights; pages are generated squares. Every row is printed,
and written as JSON with the GPU's name, as soon as it is done.

- Training: a few steps of each variant on the CPU in fp32, then on the GPU in fp32, bf16 and fp16, with the same
  weights and pages. While losses are compared, fp32 is fp32 (no TF32), and fp16 has a loss scale from a rehearsal.
  Speed is taken as jobs train, with PyTorch's defaults.
- Colouring: pages from the host to the GPU and back, at three sizes. bf16 is by autocast, as in a training.
- Busy: the share of wall time in which the GPU runs kernels or copies (torch.profiler). The profiler makes launches
  slower, so the share is rather too low.

B batch; S side of the square the network sees, pixels.
"""

# argparse and not click, which the other benchmarks use: a machine lent for an hour has PyTorch, and not all of ours.
import argparse
import gc
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import models
from imaging.target import CHANNELS

MIB = 2**20
# How far a loss may be from the CPU's in fp32, as a share of it. On a CPU, fp32 that adds up in another order (weights
# not channels_last) is at most 0.0002 away for pix2pixhd of published width at 256 pixels, 0.002 for cyclegan at 64,
# less for the others; bf16 at most 0.008.
TOLERANCES: dict[models.Precision, float] = {"fp32": 0.01, "bf16": 0.05, "fp16": 0.05}
LOSS_SCALE = "more/scaler.scale"  # of a training's state
REHEARSED = 15  # steps: each may halve the scale of 65,536
LEAST = 0.01  # losses below are compared as if they were this large: a loss of nothing has no share
T = TypeVar("T")
Losses = list[dict[str, float]]  # step by step, by name


@dataclass(frozen=True)
class Sizes:
    """How large what is measured is.

    options: of the variants' configs beside image_size; {}: published widths.
    train_size: S of a training.
    batch: pages of a training step.
    steps: of a training whose losses are compared. 5 pass through all phases of pix2pixhd.
    timed: steps, or batches to colour, that speed is taken from.
    precisions: of a training.
    color_sizes: S of the pages to colour.
    pages: B of the pages to colour, where they fit the memory.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    train_size: int = 256
    batch: int = 4
    steps: int = 5
    timed: int = 20
    precisions: tuple[models.Precision, ...] = ("fp32", "bf16", "fp16")
    color_sizes: tuple[int, ...] = (256, 512, 1024)
    pages: int = 8


TINY = Sizes(
    options={"base_channels": 8, "blocks": 1, "local_blocks": 1, "columns": "reduced"},
    train_size=64,
    timed=2,
    precisions=("fp32", "bf16"),  # fp16 takes a CPU minutes
    color_sizes=(64, 96),
    pages=2,
)


@dataclass(frozen=True)
class Speed:
    """How fast something is that is done again and again.

    rate: calls a second.
    busy: the share of wall time in which the device is at work; None where the profiler saw nothing of it.
    memory: most of the GPU's that was allocated, MiB; None on a CPU.
    """

    rate: float
    busy: float | None
    memory: float | None

    def __str__(self) -> str:
        busy = "-" if self.busy is None else f"{self.busy:.2f}"
        return f"{busy} | {'-' if self.memory is None else f'{self.memory:.0f}'}"


@dataclass(frozen=True)
class TrainingRow:
    """A variant's training in one precision.

    apart: how far the worst loss is from the CPU's, as a share of it.
    """

    variant: str
    precision: models.Precision
    apart: float
    speed: Speed

    @property
    def right(self) -> bool:
        return self.apart <= TOLERANCES[self.precision]

    def __str__(self) -> str:
        wrong = "" if self.right else f" (above {TOLERANCES[self.precision]:.0%})"
        return f"| {self.variant} | {self.precision} | {self.speed.rate:.2f} | {self.apart:.2%}{wrong} | {self.speed} |"


@dataclass(frozen=True)
class ColorsRow:
    """A variant's colouring at one size in one precision. batch: B; 0 where not even one page fits the memory."""

    variant: str
    precision: models.Precision
    image_size: int
    batch: int
    speed: Speed

    def __str__(self) -> str:
        return (
            f"| {self.variant} | {self.image_size} | {self.precision} | {self.batch} | "
            f"{self.batch * self.speed.rate:.2f} | {self.speed} |"
        )


TRAINING_HEAD = "| variant | precision | steps/s | worst loss apart | busy | memory, MiB |"
COLORS_HEAD = "| variant | size | precision | batch | pages/s | busy | memory, MiB |"


def build(name: str, sizes: Sizes, image_size: int) -> models.Variant:
    """A variant with the same random weights each time, and without dropout: each device draws masks of its own."""
    torch.manual_seed(0)
    variant = models.build(name, {**sizes.options, "image_size": image_size})
    for network in variant.networks.values():
        for part in network.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    return variant


def pages(target: str, count: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Squares of flat patches whose colour follows from their gray: (count, 1, S, S), (count, C, S, S) in [-1, 1]."""
    patches = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    ink = F.interpolate(patches, size=size)
    return ink, torch.cat([0.6 * ink, -0.8 * ink, 0.5 - 0.4 * ink.abs()][: CHANNELS[target]], dim=1)


def step(training: models.Training, sizes: Sizes, number: int) -> dict[str, float]:
    """A step on pages that its number tells. Returns the losses."""
    variant, device = training.variant, training.device
    ink, target = pages(variant.target, sizes.batch, sizes.train_size, seed=number)
    chapters = torch.arange(sizes.batch) // variant.pages_per_chapter
    torch.manual_seed(number)  # what a variant draws
    losses = training.step(ink.to(device), target.to(device), chapters=chapters.to(device))
    return {name: float(loss) for name, loss in losses.items()}


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions in fp32 take all bits of their inputs. By default they take 10 of 23 (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def train(name: str, precision: models.Precision, device: torch.device, sizes: Sizes) -> tuple[models.Training, Losses]:
    """Train a variant from start to end in a few steps. Returns the training and its losses."""
    training = trainee(name, precision, device, sizes)
    if precision == "fp16":
        scale = torch.tensor(fitting_scale(name, device, sizes))
        training.load_state({**training.state(), LOSS_SCALE: scale})
    losses = []
    with without_tf32():
        for number in range(sizes.steps):
            training.set_progress(number / sizes.steps)
            losses.append(step(training, sizes, number))
    return training, losses


def trainee(name: str, precision: models.Precision, device: torch.device, sizes: Sizes) -> models.Training:
    """A training at a tenth of the variant's rate.

    At its own the first steps are so long that rounding errors alone take losses of cyclegan and pix2pixhd per cents
    away: 2 and 6 at 64 pixels.
    """
    rate = models.VARIANTS[name].config_type().learning_rate
    slow = {**sizes.options, "learning_rate": rate and rate / 10}  # None: hypercolumn's own, which is short
    variant = build(name, replace(sizes, options=slow), sizes.train_size)
    return models.Training(variant, lambda network: network.to(device), models.Mechanics(precision=precision))


def fitting_scale(name: str, device: torch.device, sizes: Sizes) -> float:
    """By what the losses of fp16 are multiplied so that gradients neither vanish nor overflow.

    A training finds that scale by leaving out its first steps, so that its losses are not those of the same steps. A
    rehearsal finds it here. A quarter of it is on the safe side.
    """
    rehearsal = trainee(name, "fp16", device, sizes)
    for number in range(REHEARSED):
        rehearsal.set_progress(number / REHEARSED)
        step(rehearsal, sizes, number)
    return float(rehearsal.state()[LOSS_SCALE]) / 4


def distance(losses: Losses, baseline: Losses) -> float:
    """How far the worst loss is from the baseline's, as a share of it. Infinity where one is not finite."""
    shares = [
        abs(ours[name] - value) / max(abs(value), LEAST)
        for ours, theirs in zip(losses, baseline, strict=True)
        for name, value in theirs.items()
    ]
    return max(share if math.isfinite(share) else math.inf for share in shares)


def time_training(name: str, device: torch.device, sizes: Sizes) -> Iterator[TrainingRow]:
    """The rows of a variant, precision by precision."""
    _, baseline = train(name, "fp32", torch.device("cpu"), sizes)
    for precision in sizes.precisions:
        training, losses = train(name, precision, device, sizes)
        speed = speed_of(lambda training=training: step(training, sizes, 0), device, sizes.timed)  # type: ignore[misc]
        yield TrainingRow(name, precision, distance(losses, baseline), speed)
        del training
        free_memory()


def time_colors(name: str, device: torch.device, sizes: Sizes) -> Iterator[ColorsRow]:
    """The rows of a variant, size by size, each in fp32 and in bf16."""
    for size in sizes.color_sizes:
        for precision in ("fp32", "bf16"):
            batch, speed = largest_batch(sizes.pages, color(name, precision, device, sizes, size))
            yield ColorsRow(name, precision, size, batch, speed)


def color(
    name: str, precision: models.Precision, device: torch.device, sizes: Sizes, size: int
) -> Callable[[int], Speed]:
    """What colours batches of so many pages. A variant that follows coloured pages follows one."""
    variant = build(name, sizes, size)
    variant.generator().to(device)

    def predict(ink: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return variant.predict(ink).float().cpu()

    def at_work(batch: int) -> Speed:
        ink, target = pages(variant.target, batch, size)
        if variant.follows:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                variant.look_at(ink[:1], target[:1])
        if not predict(ink).isfinite().all():
            raise ArithmeticError(f"{name} colours pages of {size} pixels in {precision} with numbers not finite")
        return speed_of(lambda: predict(ink), device, sizes.timed)

    return at_work


def largest_batch(most: int, work: Callable[[int], Speed]) -> tuple[int, Speed]:
    """Do a work that takes a batch with the largest that fits the memory: `most`, its half, and so on."""
    batch = most
    while batch:
        try:
            return batch, work(batch)
        except torch.OutOfMemoryError:
            pass  # what the error holds is free from here on
        free_memory()
        batch //= 2
    return 0, Speed(0.0, None, None)


def speed_of(work: Callable[[], object], device: torch.device, repeat: int) -> Speed:
    """Do a work again and again, first with a clock and then with the profiler."""
    work()  # the first time is slower: it chooses algorithms
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    for _ in range(repeat):
        work()
    if on_gpu:
        torch.cuda.synchronize()
    rate = repeat / (time.perf_counter() - begun)
    memory = torch.cuda.max_memory_allocated() / MIB if on_gpu else None
    return Speed(rate, busy_share(work, device, repeat), memory)


def busy_share(work: Callable[[], object], device: torch.device, repeat: int) -> float | None:
    """The share of wall time in which the device is at work: a GPU in kernels and copies, a CPU in PyTorch's calls.

    None where the profiler saw nothing of the device.
    """
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
        begun = time.perf_counter()
        for _ in range(repeat):
            work()
        if on_gpu:
            torch.cuda.synchronize()
        wall = time.perf_counter() - begun
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    events = [event for event in seen.events() or () if event.device_type == kind and not event.is_user_annotation]
    if not events:
        return None
    return covered((event.time_range.start, event.time_range.end) for event in events) / 1e6 / wall  # in microseconds


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much spans (start, end) cover together, each moment once."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def free_memory() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def describe(device: torch.device) -> dict[str, Any]:
    """What the figures are from."""
    on_gpu = device.type == "cuda"
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        commit = ""
    return {
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {platform.machine()}",
        "memory_mib": torch.cuda.get_device_properties(device).total_memory // MIB if on_gpu else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "commit": commit or "unknown",
    }


def measure(device: torch.device, sizes: Sizes, out: Path) -> list[TrainingRow]:
    """Measure all variants; print and write each row as it is done. Returns those of the training that are wrong."""
    torch.backends.cudnn.benchmark = True  # as in a training
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler would tell each of its starts, as if it were an error
    result = describe(device)
    print(", ".join(f"{name} {value}" for name, value in result.items()), flush=True)
    wrong = []
    out.parent.mkdir(parents=True, exist_ok=True)
    for part, head, rows_of in (("training", TRAINING_HEAD, time_training), ("colors", COLORS_HEAD, time_colors)):
        print(f"\n{head}\n{'| --- ' * (head.count('|') - 1)}|", flush=True)
        result[part] = []
        for name in models.VARIANTS:
            for row in rows_of(name, device, sizes):
                print(row, flush=True)
                result[part].append(asdict(row))
                out.write_text(json.dumps(result, indent=1))
                if isinstance(row, TrainingRow) and not row.right:
                    wrong.append(row)
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where losses are not the CPU's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a try-out with tiny networks [default: cuda]"
    )
    parser.add_argument("--out", type=Path, default="build/gpu.json", help="[default: build/gpu.json]")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU here; see to driver and PyTorch, or try the script out with --device cpu")
    wrong = measure(torch.device(given.device), TINY if given.device == "cpu" else Sizes(), given.out)
    for row in wrong:
        print(f"{row.variant} in {row.precision}: a loss is {row.apart:.1%} from the CPU's", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
