"""Watches that the losses of a training stay finite. One NaN in the weights is never learned away."""

import torch
from torch import Tensor

from models import Precision

# With fp16 a step whose gradients are not finite is skipped by design, and the losses are scaled by half as much from
# then on. A loss that is not finite gives such gradients. So many steps in a row are let pass: the scale has then
# fallen from 65536 to 1/16, and is not what is wrong.
FP16_STEPS = 20


class LossWatch:
    """The watch of one worker. All workers judge the same number, so that they stop together.

    precision: of the training.
    device: of its losses. They stay there, since to read one waits for the device.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._most = FP16_STEPS if precision == "fp16" else 0
        self._device = device
        self._names: tuple[str, ...] = ()
        self._bad: Tensor | None = None  # for each name whether it was not finite since the last judgement
        self._in_a_row = 0

    def note(self, losses: dict[str, Tensor]) -> None:
        """Take the losses of a batch: scalars, of the same names each time."""
        self._names = tuple(losses)
        bad = ~torch.isfinite(torch.stack([loss.float() for loss in losses.values()]))
        self._bad = bad if self._bad is None else self._bad | bad

    def found(self) -> Tensor:
        """A scalar, for the largest of all workers' to be judged: 0 where all was finite, else 1 and up."""
        if self._bad is None:
            return torch.zeros((), device=self._device)
        return torch.where(self._bad.any(), self._bad.int().argmax() + 1, 0).float()

    def judge(self, found: int) -> str:
        """The name of the loss for which the training has to stop; "" while it may go on.

        found: the largest of what the workers found.
        """
        if self._bad is not None:
            self._bad = None
            self._in_a_row = self._in_a_row + 1 if found else 0
        return self._names[found - 1] if found and self._in_a_row > self._most else ""
