"""Losses that several variants share."""

import torch
import torch.nn.functional as F
from torch import Tensor


def vanilla_gan_loss(scores: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of unsquashed scores against "all real" or "all fake" (Goodfellow et al. 2014).

    scores: any shape. Returns a scalar; ln 2 for a discriminator that knows nothing.
    """
    scores = scores.float()
    labels = torch.ones_like(scores) if real else torch.zeros_like(scores)
    return F.binary_cross_entropy_with_logits(scores, labels)


def lsgan_loss(scores: Tensor, real: bool) -> Tensor:
    """Squared distance of scores from 1, "real", or from 0, "fake" (Mao et al. 2017, arXiv 1611.04076). A scalar."""
    return (scores.float() - float(real)).square().mean()
