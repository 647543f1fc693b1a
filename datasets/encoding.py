"""What is stored of a page, as the numbers in [-1, 1] that a network works with."""

from torch import Tensor

from imaging.target import AB_RANGE


def encode_ink(ink: Tensor) -> Tensor:
    """Turn gray levels, 0 to 255, into [-1, 1]."""
    return ink.float() / 127.5 - 1


def encode_target(target: Tensor, space: str) -> Tensor:
    """Turn a stored truth into [-1, 1].

    target: what `imaging.target.quantized_target` returns.
    space: the space that it is in, a key of imaging.target.CHANNELS.
    """
    return target.float() / AB_RANGE if space == "ab" else target.float() / 127.5 - 1
