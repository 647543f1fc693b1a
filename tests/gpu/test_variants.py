"""benchmarks.gpu as tests, with narrow networks: each variant trains and colours on a GPU as on the CPU.

Where PyTorch finds no GPU they are skipped; tests/benchmarks/test_gpu.py tries the same functions on a CPU. With pytest
alone beside what benchmarks.gpu needs, without Ray: `python -m pytest -c /dev/null --rootdir . --noconftest tests/gpu`.
"""

from dataclasses import replace

import pytest
import torch

import models
from benchmarks.gpu import TINY, Sizes, build, pages, time_colors, time_training, without_tf32

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
each_variant = pytest.mark.parametrize("name", models.VARIANTS)
GPU = torch.device("cuda")
NARROW = replace(TINY, precisions=Sizes.precisions, color_sizes=Sizes.color_sizes, pages=Sizes.pages)


@each_variant
def test_losses_are_the_cpu_s(name: str) -> None:
    rows = list(time_training(name, GPU, NARROW))
    assert [row.precision for row in rows] == ["fp32", "bf16", "fp16"]
    assert [str(row) for row in rows if not row.right] == []
    assert all(row.speed.memory for row in rows)
    assert all(row.speed.busy is not None and 0 < row.speed.busy <= 1 for row in rows)


@each_variant
def test_pages_of_three_sizes_are_coloured(name: str) -> None:
    rows = list(time_colors(name, GPU, NARROW))
    assert [(row.image_size, row.precision) for row in rows] == [
        (size, precision) for size in (256, 512, 1024) for precision in ("fp32", "bf16")
    ]
    assert [str(row) for row in rows if not row.batch] == []


@each_variant
def test_a_page_has_the_cpu_s_colours(name: str) -> None:
    variant = build(name, NARROW, 256)
    ink, _ = pages(variant.target, 2, 256)
    on_cpu = variant.predict(ink)
    variant.generator().to(GPU)
    with without_tf32():
        torch.testing.assert_close(variant.predict(ink).cpu(), on_cpu, atol=1e-3, rtol=0)
