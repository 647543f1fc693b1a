"""Every variant on every backend gives what PyTorch gives: a new variant is tested by being there."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import models
from datasets.synthetic import Series, draw_page
from imaging.color import F32, U8, join_chroma, to_lab
from imaging.descreen import network_view, squeezed
from imaging.metrics import ciede2000
from jobs.parts.model.backends import choice
from jobs.parts.model.backends.choice import BF16_VARIANTS, Backend, BackendName
from jobs.parts.model.backends.compiled import color_by
from jobs.parts.model.backends.export import export
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import follow, predict_chroma
from tests.jobs.model.backends.installed import require_backend
from tests.models.test_registry import tiny

MOST = 0.5  # ab units that chroma may differ by, at the 99.9th percentile
MOST_BF16 = 0.3  # mean CIEDE2000 of pages in bfloat16
LIVELY = 5.0  # least standard deviation of predicted chroma, ab units: less would hide what differs


@dataclass(frozen=True)
class Batch:
    """Pages to colour, with hints or without, beside so many reference pages."""

    pages: int
    hints: bool = False
    references: int = 0


PLAIN = [Batch(1), Batch(3), Batch(2)]
FOLLOWING = [Batch(1, hints=True), Batch(2, references=1), Batch(3, hints=True, references=4), Batch(1, references=5)]
CASES = [*models.VARIANTS, "pix2pixhd, its last phase"]


def grays(count: int, side: int, seed: int = 0) -> U8:
    """Pages of soft patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (count, side // 8, side // 8), np.uint8)
    return np.stack([cv2.resize(patch, (side, side), interpolation=cv2.INTER_CUBIC) for patch in patches])


def hints(count: int, side: int) -> F32:
    """A coloured square on each page but the first."""
    drawn = np.zeros((count, side, side, 3), np.float32)
    drawn[1:, 10:26, 20:40] = (1, 60, -40)
    return drawn


def lively(case: str) -> models.Variant:
    """A variant as training may leave it: BatchNorm statistics of its own, colours that differ."""
    torch.manual_seed(0)
    name, _, last_phase = case.partition(",")
    variant = models.build(name, tiny(name))
    if last_phase:
        variant.networks["enhancer"].phase.fill_(3)  # type: ignore[operator, union-attr]
    for part in variant.generator().modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    convolutions = [part for part in variant.generator().modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]
    last = [part.weight for part in convolutions if part.weight.requires_grad][-1]
    for _ in range(4):
        if predict_chroma(variant, grays(2, variant.image_size)).std() < 2 * LIVELY:
            last.data *= 4
    return variant


def predicted(variant: models.Variant, batch: Batch) -> F32:
    side = variant.image_size
    if variant.follows:
        chromas = np.random.default_rng(1).uniform(-60, 60, (8, 1, 1, 2)).astype(np.float32)
        references = slice(batch.references)
        follow(variant, grays(8, side, 2)[references], chromas.repeat(side, 1).repeat(side, 2)[references])
    return predict_chroma(variant, grays(batch.pages, side), hints(batch.pages, side) if batch.hints else None)


@cache
def case_of(case: str) -> tuple[models.Variant, bytes, dict[Batch, F32]]:
    """The variant, its network as ONNX, and what PyTorch predicts."""
    variant = lively(case)
    batches = [*PLAIN, *(FOLLOWING if variant.follows else [])]
    return variant, export(variant.coloring()), {batch: predicted(variant, batch) for batch in batches}


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
@pytest.mark.parametrize("case", CASES)
def test_chroma_is_that_of_pytorch(case: str, backend: BackendName) -> None:
    require_backend(backend)
    variant, model, expected = case_of(case)
    color_by(variant, Backend(backend), model, threads=1)
    for batch, truth in expected.items():
        assert truth.std() >= LIVELY, batch
        assert np.quantile(np.abs(predicted(variant, batch) - truth), 0.999) <= MOST, batch


@pytest.mark.skipif(not choice.has_bf16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("name", [name for name in BF16_VARIANTS if name != "exemplar"])
def test_pages_in_bf16_look_the_same(name: str) -> None:
    require_backend("openvino")
    variant, model, expected = case_of(name)
    color_by(variant, Backend("openvino", bf16=True), model, threads=1)
    for batch in PLAIN:
        pages = grays(batch.pages, variant.image_size)
        assert apart(pages, predicted(variant, batch), expected[batch]) <= MOST_BF16, batch


@pytest.mark.skipif(not choice.has_bf16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("references", [0, 1])
def test_pages_of_the_bundled_model_in_bf16_look_the_same(references: int) -> None:
    """Drawn pages by the trained network: random weights of exemplar make more of what bfloat16 rounds away."""
    require_backend("openvino")
    exact, rounded = load_model("bundled"), load_model("bundled")
    color_by(rounded, Backend("openvino", bf16=True), export(exact.coloring()), threads=1)
    pages = [draw_page(Series(width=496, height=700), chapter, 1) for chapter in (1, 2, 3)]
    views = np.stack([network_view(page.ink, exact.image_size) for page in pages])
    squares = np.stack([squeezed(page.color, exact.image_size) for page in pages])
    chromas = np.stack([to_lab(square)[..., 1:] for square in squares])
    made = []
    for variant in (exact, rounded):
        follow(variant, views[:references], chromas[:references])
        made.append(predict_chroma(variant, views[1:]))
    assert apart(views[1:], *made) <= MOST_BF16


def apart(pages: U8, rounded: F32, exact: F32) -> float:
    """The mean CIEDE2000 of pages that are coloured in bfloat16 and in float32."""
    assert np.abs(rounded - exact).max() > 1e-3, "it was computed in float32"
    joined = (
        (join_chroma(page, one), join_chroma(page, other))
        for page, one, other in zip(pages, rounded, exact, strict=True)
    )
    return float(np.mean([ciede2000(*pair) for pair in joined]))


def test_what_is_followed_changes_the_chroma() -> None:
    """Else that chroma is the same would say nothing of hints and references."""
    require_backend("onnx")
    _, _, expected = case_of("exemplar")
    plain = expected[Batch(1)]
    assert np.abs(expected[Batch(1, references=5)] - plain).max() > LIVELY
    assert np.abs(expected[Batch(3, hints=True, references=4)][1] - expected[Batch(3)][1]).max() > LIVELY
