"""What every model variant offers to the jobs.

B batch; S the side of the square the network sees, pixels. Ink (B, 1, S, S) and targets (B, C, S, S) lie in [-1, 1]
as imaging.target encodes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

Wrap = Callable[[nn.Module], nn.Module]


class Variant(ABC):
    """A colourist: its networks, losses, optimizers, schedule and training step.

    A variant is built from one frozen config whose fields are plain JSON values; `config_type(**card["config"])`
    rebuilds it. It knows nothing of data, storage or Ray.
    """

    name: ClassVar[str]
    config_type: ClassVar[type]
    config: Any
    image_size: int  # S
    target: str  # a target space of imaging.target

    @abstractmethod
    def generator(self) -> nn.Module:
        """The network that colours: what is published. In training it may be another than the one that is trained."""

    @abstractmethod
    def start_training(self, wrap: Wrap) -> None:
        """Make ready to train: `wrap` each trained network (device, DDP) and build the optimizers on the result."""

    @abstractmethod
    def set_progress(self, progress: float) -> None:
        """Set the learning rates for `progress`, the share of the training that is done, in [0, 1]."""

    @abstractmethod
    def training_step(self, ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        """One optimizer step on one batch. Returns the losses by name, detached scalars."""

    @abstractmethod
    def training_state(self) -> dict[str, Tensor]:
        """All that a resumed training needs, as tensors by name."""

    @abstractmethod
    def load_training_state(self, state: dict[str, Tensor]) -> None:
        """Take up `training_state` of the same config. Raises CheckpointError where keys or shapes differ."""

    @torch.inference_mode()
    def predict(self, ink: Tensor) -> Tensor:
        """Colour a batch: ink (B, 1, S, S) -> target (B, C, S, S), on the device of the generator."""
        network = self.generator().eval()
        parameter = next(network.parameters())
        out: Tensor = network(ink.to(parameter.device, parameter.dtype))
        return out
