"""The training of a variant, whichever it is: wrapping, optimizers, rates, precision, the average of the weights.

B batch; S the side of the square the network sees, pixels. Ink (B, 1, S, S) and targets (B, C, S, S) lie in [-1, 1]
as imaging.target encodes them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.card import CheckpointError
from models.checkpoint import join_state, optimizer_state, restore_module, restore_optimizer, split_state
from models.layers import autocast_dtype
from models.variant import Variant

Wrap = Callable[[nn.Module], nn.Module]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class Mechanics:
    """How the steps of a training are made, whatever the variant.

    precision: of the forward passes; auto is bfloat16 on a GPU that has it, else fp32. fp16 scales its losses.
    accumulate: batches whose gradients make one step.
    clip_norm: the largest norm of the gradient of what one optimizer trains; 0: no limit.
    ema_decay: of the running average of the generator's weights, which is what colours; 0: the last step's weights.
    channels_last: whether the trained networks keep their weights in that memory format.
    compile: whether torch.compile compiles them.
    """

    precision: Precision = "auto"
    accumulate: int = 1
    clip_norm: float = 0.0
    ema_decay: float = 0.999
    channels_last: bool = True
    compile: bool = False


class Training:
    """One training of a variant. Its generator is the running average of the trained one from now on.

    The jobs call `set_progress`, `step`, `state` and `load_state`. All else is for the variant's own `step`.

    variant: what is trained.
    device: of its networks.
    progress: the share of the training that is done, in [0, 1].
    chapters: (B,) of the batch at hand, equal numbers for pages of one chapter; None where nothing tells.
    """

    def __init__(self, variant: Variant, wrap: Wrap, mechanics: Mechanics | None = None) -> None:
        """Wrap each trained network (`wrap`: its device, DDP) and build the optimizers on the result."""
        self.variant = variant
        self.mechanics = mechanics or Mechanics()
        self._wrapped: dict[str, nn.Module] = {}
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        for group, networks in variant.optimizer_groups.items():
            for name, network in networks.items():
                if self.mechanics.channels_last:
                    network.to(memory_format=torch.channels_last)
                if self.mechanics.compile:
                    network.compile()
                self._wrapped[name] = wrap(network)
            parameters = [p for network in networks.values() for p in network.parameters() if p.requires_grad]
            self._optimizers[group] = variant.optimizer(group, parameters)
        self._rates = {
            group: [param_group["lr"] for param_group in optimizer.param_groups]
            for group, optimizer in self._optimizers.items()
        }
        self.device = next(next(iter(variant.networks.values())).parameters()).device
        self.progress = 0.0
        self.chapters: Tensor | None = None
        self._masked: Tensor | None = None
        self._update = True
        generator = variant.trained_generator().to(self.device)  # its frozen parts too
        average = partial(_average_all, most=self.mechanics.ema_decay)
        self._average = AveragedModel(generator, multi_avg_fn=average, use_buffers=True)
        variant.color_with(self._average.module)
        self._dtype = _dtype_of(self.mechanics.precision, self.device)
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype is torch.float16)

    # What the jobs call.

    def set_progress(self, progress: float) -> None:
        """Set `progress`, in [0, 1], and the learning rates for it.

        Constant for the first half, then straight down to nothing: the published 100 + 100 epochs of the GANs.
        """
        self.progress = progress
        for group, optimizer in self._optimizers.items():
            for param_group, rate in zip(optimizer.param_groups, self._rates[group], strict=True):
                param_group["lr"] = rate * min(1.0, max(0.0, 2 * (1 - progress)))

    def step(
        self,
        ink: Tensor,
        target: Tensor,
        *,
        masked: Tensor | None = None,
        chapters: Tensor | None = None,
        update: bool = True,
    ) -> dict[str, Tensor]:
        """Learn from one batch. Returns the losses by name, detached scalars.

        masked: (B, 1, S, S) bool, where the pages are not judged: what the target shows there changes nothing. None
            where all of them is judged.
        chapters: (B,) equal numbers for pages of one chapter, of which a variant may show some to others.
        update: False for a batch whose gradients only add to those of the next (`Mechanics.accumulate` - 1 times).
        """
        self.chapters = chapters
        self._masked = masked
        self._update = update
        target = self.filled(target, self.variant.paper)
        for network in self._wrapped.values():
            network.train()
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
            losses = self.variant.step(self, ink, target)
        if update:
            self._scaler.update()
            self._average.update_parameters(self.variant.trained_generator())
        return {name: loss.detach() for name, loss in losses.items()}

    def state(self) -> dict[str, Tensor]:
        """All that a resumed training needs, as tensors by name."""
        return join_state(
            {
                **{name: network.state_dict() for name, network in self.variant.networks.items()},
                **{f"{group}_optimizer": optimizer_state(o) for group, o in self._optimizers.items()},
                "average": self._average.state_dict(),
                "more": {**_scaler_state(self._scaler), **self.variant.more_state()},
            }
        )

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state` of the same config. Raises CheckpointError where keys or shapes differ."""
        parts = split_state(state)
        name_of_variant, networks = self.variant.name, self.variant.networks
        optimizers = {f"{group}_optimizer": optimizer for group, optimizer in self._optimizers.items()}
        if unknown := set(parts) - {*networks, *optimizers, "average", "more"}:
            raise CheckpointError(
                f"the checkpoint has parts that {name_of_variant} has not: {', '.join(sorted(unknown))}"
            )
        try:
            for name, network in networks.items():
                restore_module(network, parts[name])
            restore_module(self._average, parts["average"])
            self._restore_frozen()
            for name, optimizer in optimizers.items():
                restore_optimizer(optimizer, parts.get(name, {}))
            more = dict(parts.get("more", {}))
            _restore_scaler(self._scaler, more)
            self.variant.load_more_state(more)
        except (KeyError, CheckpointError) as error:
            raise CheckpointError(f"the checkpoint does not fit this {name_of_variant}: {error}") from error

    # What a variant's step calls.

    def call(self, name: str, *inputs: Tensor) -> Any:
        """Run a trained network, as it is wrapped."""
        return self._wrapped[name](*inputs)

    def filled(self, values: Tensor, fill: float) -> Tensor:
        """Values (B, C, h, w) with `fill` where the batch is masked, in a cell where any part of it is.

        A step fills like this whatever it compares or judges, but for the target, which comes filled with paper. So no
        loss and no discriminator tells real from fake there, and no gradient comes from there.
        """
        masked = self._masked_at(values.shape[-2])
        return values if masked is None else values.masked_fill(masked, fill)

    def judged(self, values: Tensor) -> Tensor:
        """Values (B, h, w) of the places that are judged, in one row; as they are where nothing is masked."""
        masked = self._masked_at(values.shape[-2])
        return values if masked is None else values[~masked[:, 0]]

    def _masked_at(self, height: int) -> Tensor | None:
        """Where the batch is masked, at another size: (B, 1, h, w); S is a multiple of h."""
        if self._masked is None or self._masked.shape[-2] == height:
            return self._masked
        return F.max_pool2d(self._masked.float(), self._masked.shape[-2] // height) > 0

    @contextmanager
    def without_sync(self, *names: str) -> Iterator[None]:
        """Gradients of these networks stay with this worker: another backward pass sends them all.

        Goes around the forward passes as well as the backward one.
        """
        with ExitStack() as stack:
            for name in names:
                if isinstance(network := self._wrapped[name], nn.parallel.DistributedDataParallel):
                    stack.enter_context(network.no_sync())
            yield

    @contextmanager
    def gradients_of(self, *groups: str) -> Iterator[None]:
        """Forward and backward passes of these optimizer groups.

        Their gradients go to the other workers if this batch steps.
        """
        with ExitStack() as stack:
            if not self._update:
                for group in groups:
                    stack.enter_context(self.without_sync(*self.variant.optimizer_groups[group]))
            yield

    @contextmanager
    def frozen(self, group: str) -> Iterator[dict[str, nn.Module]]:
        """The bare networks of an optimizer group, left out of the gradient.

        A loss through them trains only what feeds them.
        """
        networks = self.variant.optimizer_groups[group]
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

    def advance(self, *groups: str) -> None:
        """One step of each group's optimizer, then its gradients are nothing again.

        Nothing for a batch whose gradients only add to those of the next.
        """
        if not self._update:
            return
        for group in groups:
            optimizer = self._optimizers[group]
            if self.mechanics.clip_norm:
                self._scaler.unscale_(optimizer)
                parameters = [p for param_group in optimizer.param_groups for p in param_group["params"]]
                nn.utils.clip_grad_norm_(parameters, self.mechanics.clip_norm)
            self._scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)

    def restart_optimizer(self, group: str) -> None:
        """Forget the moments of a group's optimizer: they belong to another loss."""
        self._optimizers[group].state.clear()

    def restart_average(self) -> None:
        """Forget the average: it begins anew with the weights of the next step."""
        self._average.n_averaged.zero_()

    def _restore_frozen(self) -> None:
        """What of the generator is not trained (VGG's weights) is in the checkpoint as part of its average alone."""
        trained = {
            id(part)
            for network in self.variant.networks.values()
            for part in chain(network.parameters(), network.buffers())
        }
        restored, generator = self._average.module, self.variant.trained_generator()
        values = dict(chain(restored.named_parameters(), restored.named_buffers()))
        for name, own in chain(generator.named_parameters(), generator.named_buffers()):
            if id(own) not in trained:
                own.data.copy_(values[name])


def _average_all(averages: list[Tensor], latest: list[Tensor], count: Tensor | int, *, most: float) -> None:
    """Take up the latest tensors, all of one dtype, into their running averages.

    count: averaged so far.
    most: the decay after many steps.

    Early on the average is over the last ninth of the steps: what a network knew at first is soon forgotten.
    """
    if not averages[0].is_floating_point():
        torch._foreach_copy_(averages, latest)
        return
    decay = min(most, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(averages, latest, 1 - decay)


def _dtype_of(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The autocast dtype; None: none."""
    if precision == "auto":
        return autocast_dtype(device)
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _scaler_state(scaler: torch.amp.GradScaler) -> dict[str, Tensor]:
    """Empty for a scaler that is not enabled."""
    state = scaler.state_dict()
    return {f"scaler.{name}": torch.tensor(float(state[name])) for name in ("scale", "_growth_tracker") if state}


def _restore_scaler(scaler: torch.amp.GradScaler, more: dict[str, Tensor]) -> None:
    """Takes the scaler's entries out of `more`; a training that goes on in another precision drops them."""
    saved = {key.removeprefix("scaler."): more.pop(key) for key in list(more) if key.startswith("scaler.")}
    if saved and scaler.is_enabled():
        scaler.load_state_dict(
            {
                **scaler.state_dict(),
                "scale": float(saved["scale"]),
                "_growth_tracker": int(saved["_growth_tracker"]),
            }
        )
