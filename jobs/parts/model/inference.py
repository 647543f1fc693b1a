"""Prediction with a variant on pages at model size: gray levels in, chroma out."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

import models
from datasets.encoding import encode_ink
from datasets.errors import BadUsageError
from imaging.color import F32, U8
from imaging.target import AB_RANGE, chroma_of, lab_of

log = logging.getLogger("mangahue")


def to_device(variant: models.Variant, threads: int, *, on_gpu: bool) -> None:
    """Move the network to the GPU that this process has, or let it use `threads` threads of the CPUs.

    on_gpu: whether it has one; on Ray, whether one was assigned. Where none was, one that the node has is not touched.
    """
    variant.generator().to(memory_format=torch.channels_last)
    if on_gpu and torch.cuda.is_available():
        variant.generator().cuda()
        return
    if on_gpu:
        log.warning(
            "Ray assigned a GPU to this worker, and PyTorch finds none: the network runs on the CPU; see that the "
            "node has a driver, and a PyTorch with CUDA"
        )
    torch.set_num_threads(threads)


def gpu_here(device: str) -> bool:
    """Whether a network in a process without Ray runs on a GPU, which is logged.

    device: "cpu", "cuda", or "auto" (a GPU where there is one).
    Raises BadUsageError for "cuda" where PyTorch finds no GPU.
    """
    there = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not there:
        raise BadUsageError("--device cuda: PyTorch finds no GPU here; take --device cpu, or see to driver and PyTorch")
    log.info("--device %s: the network runs on %s", device, "the GPU" if there else "the CPUs")
    return there


def device_of(variant: models.Variant) -> torch.device:
    """Where the network is that colours."""
    return next(variant.generator().parameters()).device


def predict_chroma(variant: models.Variant, grays: U8, hints: F32 | None = None) -> F32:
    """Predict chroma. S is the variant's image_size.

    grays: (B, S, S) gray levels.
    hints: (B, S, S, 3), 1 and the ab where there is a hint, for a variant that follows hints; None for no hints.
    Returns (B, S, S, 2) float32 ab. A page whose prediction is not finite is NaN all over.
    """
    return _converted(_predict(variant, grays, hints), lambda page: chroma_of(page, variant.target))


def predict_colors(variant: models.Variant, grays: U8, hints: F32 | None = None) -> F32:
    """As `predict_chroma`, for a variant with target `rgb`. Returns (B, S, S, 3) float32: a, b, L."""
    return _converted(_predict(variant, grays, hints), lambda page: np.roll(lab_of(page), -1, axis=-1))


def follow(variant: models.Variant, grays: U8, chromas: NDArray[np.floating]) -> None:
    """Let a variant follow these coloured pages from now on.

    grays: (R, S, S) gray levels. R of 0: follow no page any more.
    chromas: (R, S, S, 2) ab.
    """
    variant.look_at(*as_inputs(grays, chromas))


def describe(variant: models.Variant, grays: U8) -> F32:
    """What pages look like to a variant that follows some: (B, S, S) gray levels -> (B, N), of length 1, or 0."""
    ink = encode_ink(torch.from_numpy(np.ascontiguousarray(grays)))[:, None]
    described: F32 = variant.describe(ink).float().cpu().numpy()
    return described


def describe_page(variant: models.Variant, gray: U8) -> tuple[F32, float]:
    """As `describe`, of one page (S, S): its description (N,), and the cosine from which on two pages are alike."""
    return describe(variant, gray[None])[0], variant.least_likeness


def is_scarce(error: Exception) -> bool:
    """Whether an error of the network says that memory did not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def as_inputs(grays: U8, chromas: NDArray[np.floating]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coloured pages (R, S, S) and (R, S, S, 2) ab as a variant looks at them: (R, 1, S, S) and (R, 2, S, S)."""
    target = torch.from_numpy(chromas.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(AB_RANGE))
    return encode_ink(torch.from_numpy(grays.copy()))[:, None], target


def _predict(variant: models.Variant, grays: U8, hints: F32 | None) -> F32:
    ink = encode_ink(torch.from_numpy(np.ascontiguousarray(grays)))[:, None]
    if device_of(variant).type == "cuda":
        ink = ink.pin_memory()  # otherwise its copy to the GPU waits for what runs there
    predicted: F32 = variant.predict(ink, None if hints is None else _encoded(hints)).float().cpu().numpy()
    return predicted


def _converted(predicted: F32, convert: Callable[[F32], F32]) -> F32:
    """Each page converted. One that is not finite becomes NaN: as levels of rgb it would be black, and finite."""
    finite = [bool(np.isfinite(page).all()) for page in predicted]
    pages = [convert(page if good else np.zeros_like(page)) for page, good in zip(predicted, finite, strict=True)]
    return np.stack([page if good else np.full_like(page, np.nan) for page, good in zip(pages, finite, strict=True)])


def _encoded(hints: F32) -> torch.Tensor:
    scaled = hints / np.array([1, AB_RANGE, AB_RANGE], np.float32)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))
