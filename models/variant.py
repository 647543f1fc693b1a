"""What every model variant offers to the jobs, and the training machinery that they share.

B batch; S the side of the square the network sees, pixels. Ink (B, 1, S, S) and targets (B, C, S, S) lie in [-1, 1]
as imaging.target encodes them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.checkpoint import (
    CheckpointError,
    join_state,
    optimizer_state,
    restore_module,
    restore_optimizer,
    split_state,
)
from models.layers import autocast_dtype

Wrap = Callable[[nn.Module], nn.Module]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class VariantConfig:
    """What every variant's config has. image_size: S, a multiple of the variant's own size.

    targets: the target spaces that the variant can learn; the first is its default.
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


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """How the steps of a training are made, whatever the variant.

    precision: of the forward passes; auto is bfloat16 on a GPU that has it, else fp32. fp16 scales its losses.
    accumulate: batches whose gradients make one step. clip_norm: the largest norm of the gradient of what one optimizer
    trains; 0: no limit. ema_decay: of the running average of the generator's weights, which is what colours (0: the
    last step's weights).
    """

    precision: Precision = "auto"
    accumulate: int = 1
    clip_norm: float = 0.0
    ema_decay: float = 0.999
    channels_last: bool = True
    compile: bool = False


class Variant(ABC):
    """A way to colour: its networks, losses, optimizers, schedule and training step.

    A variant is built from one frozen config whose fields are plain JSON values; `config_type(**card["config"])`
    rebuilds it. It knows nothing of data, storage or Ray. A subclass gives `__init__` and `step`.

    paired: whether ink and target of a batch are of the same pages. pretrained: the torchvision network whose published
    weights it starts from ("vgg16"), if any; pretrained_needed: whether it is of no use without. bundled: the network
    whose weights come with an installed package ("efficientnet_lite0"), which it starts from. follows: whether
    it looks at coloured pages, and at hints. pages_per_chapter: pages of one chapter that stand together in a training
    batch.
    """

    name: ClassVar[str]
    config_type: ClassVar[type[VariantConfig]]
    paired: ClassVar[bool] = True
    pretrained: ClassVar[str] = ""
    pretrained_needed: ClassVar[bool] = False
    bundled: ClassVar[str] = ""
    pages_per_chapter: ClassVar[int] = 1
    follows: ClassVar[bool] = False

    def __init__(self, config: Any, generator: nn.Module, trained: Mapping[str, Mapping[str, nn.Module]]) -> None:
        """generator: the network that colours; its parts are among those trained, or frozen.

        trained: {optimizer's name: {network's name: network}}; networks that one optimizer steps together.
        """
        self.config = config
        self.image_size: int = config.image_size
        self.target: str = config.target
        self._generator = generator
        self._trained = {side: dict(networks) for side, networks in trained.items()}
        self._bare = {name: network for networks in trained.values() for name, network in networks.items()}
        self._average: AveragedModel | None = None

    # What the jobs call.

    def generator(self) -> nn.Module:
        """The network that colours: what is published. In training it is the running average of the trained one."""
        return self._generator if self._average is None else self._average.module

    def trained_generator(self) -> nn.Module:
        """The network as the last step left it; `generator` is its average."""
        return self._generator

    def network(self, name: str) -> nn.Module:
        """One of the trained networks, unwrapped."""
        return self._bare[name]

    def training_networks(self) -> list[nn.Module]:
        """All trained networks, unwrapped."""
        return list(self._bare.values())

    def load_pretrained(self, state: Mapping[str, Tensor] | None) -> None:
        """Take up the published weights of `pretrained` (torchvision's names); None: keep random ones, for tests."""
        raise ValueError(f"{self.name} starts from no pretrained network")

    def start_training(self, wrap: Wrap, mechanics: Mechanics | None = None) -> None:
        """Make ready to train: `wrap` each trained network (device, DDP) and build the optimizers on the result."""
        self.mechanics = mechanics or Mechanics()
        self._networks: dict[str, nn.Module] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        for side, networks in self._trained.items():
            for name, network in networks.items():
                if self.mechanics.channels_last:
                    network.to(memory_format=torch.channels_last)
                if self.mechanics.compile:
                    network.compile()
                self._networks[name] = wrap(network)
            parameters = [p for name in networks for p in self._bare[name].parameters() if p.requires_grad]
            self._optimizers[side] = self.optimizer(side, parameters)
        self.device = next(self._bare[next(iter(self._bare))].parameters()).device
        self._generator.to(self.device)  # its frozen parts
        self._rates = {side: [group["lr"] for group in o.param_groups] for side, o in self._optimizers.items()}
        self._average = AveragedModel(self._generator, avg_fn=self._averaged, use_buffers=True)
        self._dtype = _dtype_of(self.mechanics.precision, self.device)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype is torch.float16)

    def set_progress(self, progress: float) -> None:
        """Set the learning rates for `progress`, the share of the training that is done, in [0, 1].

        Constant for the first half, then straight down to nothing: the published 100 + 100 epochs of the GANs.
        """
        for side, optimizer in self._optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[side], strict=True):
                group["lr"] = rate * min(1.0, max(0.0, 2 * (1 - progress)))

    def training_step(
        self, ink: Tensor, target: Tensor, *, chapters: Tensor | None = None, update: bool = True
    ) -> dict[str, Tensor]:
        """Learn from one batch. Returns the losses by name, detached scalars.

        chapters: (B,) equal numbers for pages of one chapter that may be looked at, for a variant that does.
        update: False for a batch whose gradients only add to those of the next (`Mechanics.accumulate` - 1 times).
        """
        for network in self._networks.values():
            network.train()
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
            losses = self.step(ink, target, update)
        if update:
            self._scaler.update()
            assert self._average is not None
            self._average.update_parameters(self._generator)
        return {name: loss.detach() for name, loss in losses.items()}

    def training_state(self) -> dict[str, Tensor]:
        """All that a resumed training needs, as tensors by name."""
        assert self._average is not None
        return join_state(
            {
                **{name: network.state_dict() for name, network in self._bare.items()},
                **{f"{side}_optimizer": optimizer_state(o) for side, o in self._optimizers.items()},
                "average": self._average.state_dict(),
                "more": {**self._scaler_state(), **self.more_state()},
            }
        )

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up `training_state` of the same config. Raises CheckpointError where keys or shapes differ."""
        parts = split_state(state)
        assert self._average is not None
        optimizers = {f"{side}_optimizer": optimizer for side, optimizer in self._optimizers.items()}
        if unknown := set(parts) - {*self._bare, *optimizers, "average", "more"}:
            raise CheckpointError(f"the checkpoint has parts that {self.name} has not: {', '.join(sorted(unknown))}")
        try:
            for name, network in self._bare.items():
                restore_module(network, parts[name])
            restore_module(self._average, parts["average"])
            self._restore_frozen(self._average.module)
            for name, optimizer in optimizers.items():
                restore_optimizer(optimizer, parts.get(name, {}))
            more = dict(parts.get("more", {}))
            self._load_scaler_state(more)
            self.load_more_state(more)
        except (KeyError, CheckpointError) as error:
            raise CheckpointError(f"the checkpoint does not fit this {self.name}: {error}") from error

    def look_at(self, ink: Tensor, target: Tensor) -> None:
        """Pages in colour that `predict` follows from now on: (R, 1, S, S), (R, C, S, S); none of them: no more."""
        raise ValueError(f"{self.name} looks at no other pages")

    @torch.inference_mode()
    def predict(self, ink: Tensor, hints: Tensor | None = None) -> Tensor:
        """Colour a batch: ink (B, 1, S, S) -> target (B, C, S, S), on the device of the generator.

        hints: (B, 1 + C, S, S), 1 where a colour is told, and it; for a variant that `follows`.
        """
        if hints is not None:
            raise ValueError(f"{self.name} takes no hints")
        network = self.generator().eval()
        parameter = next(network.parameters())
        out: Tensor = network(ink.to(parameter.device, parameter.dtype, non_blocking=True))
        return out

    # What a subclass gives.

    @abstractmethod
    def step(self, ink: Tensor, target: Tensor, update: bool) -> dict[str, Tensor]:
        """The losses of one batch, back-propagated with `learn`; called in training mode and under autocast."""

    def optimizer(self, side: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of one side; by default the GANs' Adam, betas (0.5, 0.999)."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def more_state(self) -> dict[str, Tensor]:
        """Tensors that a resumed training needs beside networks and optimizers."""
        return {}

    def load_more_state(self, state: dict[str, Tensor]) -> None:
        """Take up `more_state`. Raises CheckpointError where it does not fit."""
        if state:
            raise CheckpointError(f"it has more than {self.name} needs: {', '.join(sorted(state))}")

    # What a subclass calls in its step.

    def call(self, name: str, *inputs: Tensor) -> Any:
        """Run a trained network, as it is wrapped."""
        return self._networks[name](*inputs)

    @contextmanager
    def without_sync(self, *names: str) -> Iterator[None]:
        """Gradients of these networks stay with this worker: another backward pass sends them all.

        Goes around the forward passes as well as the backward one.
        """
        with ExitStack() as stack:
            for name in names:
                if isinstance(network := self._networks[name], nn.parallel.DistributedDataParallel):
                    stack.enter_context(network.no_sync())
            yield

    @contextmanager
    def gradients_of(self, side: str, update: bool) -> Iterator[None]:
        """Forward and backward passes of one side: its gradients go to the other workers if this batch steps."""
        with ExitStack() as stack:
            if not update:
                stack.enter_context(self.without_sync(*self._trained[side]))
            yield

    @contextmanager
    def frozen(self, side: str) -> Iterator[dict[str, nn.Module]]:
        """The bare networks of one side, left out of the gradient: a loss through them trains only what feeds them."""
        networks = {name: self._bare[name] for name in self._trained[side]}
        learning = [p for network in networks.values() for p in network.parameters() if p.requires_grad]
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            yield networks
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the step."""
        self._scaler.scale(loss / self.mechanics.accumulate).backward()

    def advance(self, *sides: str) -> None:
        """One optimizer step of each side, then its gradients are nothing again."""
        for side in sides:
            optimizer = self._optimizers[side]
            if self.mechanics.clip_norm:
                self._scaler.unscale_(optimizer)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                nn.utils.clip_grad_norm_(parameters, self.mechanics.clip_norm)
            self._scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)

    def restart_average(self) -> None:
        """Forget the average: it begins anew with the weights of the next step."""
        assert self._average is not None
        self._average.n_averaged.zero_()

    def _averaged(self, average: Tensor, latest: Tensor, count: Tensor | int) -> Tensor:
        """Early on the average is over the last ninth of the steps: what a network knew at first is soon forgotten."""
        if not latest.is_floating_point():
            return latest
        decay = min(self.mechanics.ema_decay, (1 + int(count)) / (10 + int(count)))
        return average + (1 - decay) * (latest - average)

    def _restore_frozen(self, average: nn.Module) -> None:
        """What of the generator is not trained (VGG's weights) is in the checkpoint as part of its average alone."""
        trained = {
            id(part) for network in self._bare.values() for part in chain(network.parameters(), network.buffers())
        }
        restored = dict(chain(average.named_parameters(), average.named_buffers()))
        for name, own in chain(self._generator.named_parameters(), self._generator.named_buffers()):
            if id(own) not in trained:
                own.data.copy_(restored[name])

    def _scaler_state(self) -> dict[str, Tensor]:
        state = self._scaler.state_dict()
        return {f"scaler.{name}": torch.tensor(float(state[name])) for name in ("scale", "_growth_tracker") if state}

    def _load_scaler_state(self, more: dict[str, Tensor]) -> None:
        """Takes the scaler's entries out of `more`; a training that goes on in another precision drops them."""
        saved = {key.removeprefix("scaler."): more.pop(key) for key in list(more) if key.startswith("scaler.")}
        if saved and self._scaler.is_enabled():
            self._scaler.load_state_dict(
                {
                    **self._scaler.state_dict(),
                    "scale": float(saved["scale"]),
                    "_growth_tracker": int(saved["_growth_tracker"]),
                }
            )


def _dtype_of(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast dtype; None: none."""
    if precision == "auto":
        return autocast_dtype(device)
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
