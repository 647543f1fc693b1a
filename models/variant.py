"""What every model variant offers to the jobs and to its training (models.training).

B batch; S the side of the square the network sees, pixels. Ink (B, 1, S, S) and targets (B, C, S, S) lie in [-1, 1]
as imaging.target encodes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from imaging.target import PAPER
from models.card import CheckpointError

if TYPE_CHECKING:
    from models.training import Training


@dataclass(frozen=True, kw_only=True)
class VariantConfig:
    """What every variant's config has. Raises ValueError naming a value that it cannot have.

    targets: the target spaces that the variant can learn; the first is its default.
    size_multiple: what S is a multiple of.
    target: the target space that it learns.
    image_size: S.
    learning_rate: of its optimizers, before the schedule.
    """

    targets: ClassVar[tuple[str, ...]] = ("ab", "rgb")
    size_multiple: ClassVar[int] = 32

    target: str = "ab"
    image_size: int = 256
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        variant = type(self).__name__.removesuffix("Config").lower()
        if self.target not in self.targets:
            raise ValueError(f"target is {self.target!r}; {variant} takes {' or '.join(self.targets)}")
        least = max(32, self.size_multiple)
        if self.image_size < least or self.image_size % self.size_multiple:
            raise ValueError(
                f"image_size is {self.image_size}; {variant} needs a multiple of {self.size_multiple}, at least {least}"
            )
        rate = self.learning_rate
        if not (rate is type(self).learning_rate or 0 < rate < 10):  # a default of None is for a variant to resolve
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0 and below 10")
        if getattr(self, "base_channels", 1) < 1:
            raise ValueError(f"base_channels is {getattr(self, 'base_channels', 1)}; it must be at least 1")
        if getattr(self, "in_channels", 1) not in (1, 3):
            raise ValueError(f"in_channels is {getattr(self, 'in_channels', 1)}; it is 1, or 3: the ink repeated")
        for name, value in vars(self).items():
            if name.endswith("_weight") and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}; it is a number from 0 up")


@dataclass(frozen=True)
class Coloring:
    """What `Variant.predict` runs, as a function of tensors alone.

    network: in evaluation mode; it takes `inputs` in their order, and returns the target.
    inputs: the shape of each, by name; a size with a name is another one at each call, and may be 0.
    """

    network: nn.Module
    inputs: Mapping[str, tuple[int | str, ...]]


class Variant(ABC):
    """A way to colour pages and to learn it: networks, losses and optimizers.

    A variant is built from one frozen config whose fields are plain JSON values; `config_type(**card["config"])`
    rebuilds it. It knows nothing of data, storage or Ray. A subclass gives `__init__` and `step`.

    name: its name in the registry.
    config_type: the class of its config.
    paired: whether ink and target of a batch are of the same pages.
    pretrained: the torchvision network whose published weights it starts from ("vgg16"), if any.
    pretrained_needed: whether it is of no use without.
    bundled: the network whose weights come with an installed package ("efficientnet_lite0"), which it starts from.
    pages_per_chapter: pages of one chapter that stand together in a training batch.
    follows: whether it looks at coloured pages, and at hints.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[VariantConfig]]
    paired: ClassVar[bool] = True
    pretrained: ClassVar[str] = ""
    pretrained_needed: ClassVar[bool] = False
    bundled: ClassVar[str] = ""
    pages_per_chapter: ClassVar[int] = 1
    follows: ClassVar[bool] = False

    def __init__(
        self, config: Any, generator: nn.Module, optimizer_groups: Mapping[str, Mapping[str, nn.Module]]
    ) -> None:
        """What is colouring, and what is trained.

        generator: the network that colours; its parts are among those trained, or frozen.
        optimizer_groups: {group: {network's name: network}}, all that is trained; one optimizer steps the networks of
            a group together.
        """
        self.config = config
        self.image_size: int = config.image_size
        self.target: str = config.target
        self.paper: float = PAPER[config.target]
        self.optimizer_groups = {group: dict(networks) for group, networks in optimizer_groups.items()}
        self.networks = {name: net for networks in optimizer_groups.values() for name, net in networks.items()}
        self._trained_generator = self._generator = generator
        self._compiled: Callable[..., Tensor] | None = None

    # What the jobs call.

    def generator(self) -> nn.Module:
        """The network that colours: what is published. In training it is the running average of the trained one."""
        return self._generator

    def trained_generator(self) -> nn.Module:
        """The network as the last step left it; `generator` is its average."""
        return self._trained_generator

    def color_with(self, generator: nn.Module) -> None:
        """Have a copy of the generator with other weights colour: the running average of a training."""
        self._generator = generator

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        """Take up the published weights of `pretrained` or `bundled`, under their published names.

        None: keep random ones, for tests. Raises CheckpointError where they do not fit.
        """
        raise ValueError(f"{self.name} starts from no pretrained network")

    def look_at(self, ink: Tensor, target: Tensor) -> None:
        """Pages in colour that `predict` follows from now on: (R, 1, S, S), (R, C, S, S); none of them: no more."""
        raise ValueError(f"{self.name} looks at no other pages")

    def memorized(self, ink: Tensor, target: Tensor) -> Any:
        """Pages in colour, as of `look_at`, for `looking_at`: what is found out about them is found out once."""
        raise ValueError(f"{self.name} looks at no other pages")

    def looking_at(self, memorized: Any) -> AbstractContextManager[None]:
        """Pages in colour that `predict` follows, too, while the context lasts."""
        raise ValueError(f"{self.name} looks at no other pages")

    def describe(self, ink: Tensor) -> Tensor:
        """(B, N) what pages (B, 1, S, S) look like: the more alike, the larger the cosine; of length 1, or 0."""
        raise ValueError(f"{self.name} looks at no other pages")

    @property
    def least_likeness(self) -> float:
        """The cosine from which on a page looks at another one."""
        raise ValueError(f"{self.name} looks at no other pages")

    def coloring(self) -> Coloring:
        """What `predict` runs, for a backend to compile. Its weights are the generator's of now."""
        return Coloring(self.generator().eval(), {"ink": ("pages", 1, self.image_size, self.image_size)})

    def color_by(self, compiled: Callable[..., Tensor]) -> None:
        """Have `predict` run what a backend has made of `coloring`."""
        self._compiled = compiled

    @torch.inference_mode()
    def predict(self, ink: Tensor, hints: Tensor | None = None) -> Tensor:
        """Colour a batch: ink (B, 1, S, S) -> target (B, C, S, S), on the device of the generator.

        hints: (B, 1 + C, S, S), 1 where a colour is told, and it; for a variant that `follows`.
        """
        if hints is not None:
            raise ValueError(f"{self.name} takes no hints")
        return self._color(self._as_weights(ink))

    def _color(self, *inputs: Tensor) -> Tensor:
        """`coloring`, compiled where it is."""
        run = self._compiled or self.coloring().network
        out: Tensor = run(*inputs)
        return out

    def _as_weights(self, values: Tensor) -> Tensor:
        """On the device of the generator's weights, and of their dtype."""
        parameter = next(self.generator().parameters())
        return values.to(parameter.device, parameter.dtype, non_blocking=True)

    # What a training calls.

    @abstractmethod
    def step(self, training: "Training", ink: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Learn from one batch by way of `training`; called in training mode and under autocast. Returns the losses.

        For each optimizer group: `call` its networks and `backward` a loss under `gradients_of`, then `advance`. What
        is compared with the target, or judged beside it, is `filled` first.
        """

    def optimizer(self, group: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of one group; by default the GANs' Adam, betas (0.5, 0.999)."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999), fused=True)

    def more_state(self) -> dict[str, Tensor]:
        """Tensors that a resumed training needs beside networks and optimizers."""
        return {}

    def load_more_state(self, state: dict[str, Tensor]) -> None:
        """Take up `more_state`. Raises CheckpointError where it does not fit."""
        if state:
            raise CheckpointError(f"it has more than {self.name} needs: {', '.join(sorted(state))}")
