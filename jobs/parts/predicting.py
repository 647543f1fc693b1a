"""A variant at work on pages of model size: gray levels in, chroma out."""

import numpy as np
import torch

import models
from datasets.transforms import encode_ink
from imaging.color import F32, U8
from imaging.target import chroma_of


def predict_chroma(variant: models.Variant, grays: U8) -> F32:
    """grays: (B, S, S) gray levels, S the variant's image_size. Returns (B, S, S, 2) float32 ab."""
    ink = encode_ink(torch.from_numpy(np.ascontiguousarray(grays)))[:, None]
    if torch.cuda.is_available():
        ink = ink.pin_memory()  # or its copy to the GPU would wait for what runs there
    predicted = variant.predict(ink).float().cpu().numpy()
    return np.stack([chroma_of(page, variant.target) for page in predicted])
