"""Weights and training state as bytes: safetensors and JSON, never a pickle."""

from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from models.card import CheckpointError

_SEPARATOR = "/"


def join_state(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """{"generator": {"first.weight": t}} -> {"generator/first.weight": t}."""
    return {f"{part}{_SEPARATOR}{name}": value for part, state in parts.items() for name, value in state.items()}


def split_state(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The reverse of `join_state`."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, _, rest = name.partition(_SEPARATOR)
        parts.setdefault(part, {})[rest] = value
    return parts


def restore_module(module: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a network's tensors back. Raises CheckpointError unless names and shapes are just its own."""
    own = {name: value.shape for name, value in module.state_dict().items()}
    if differing := sorted(own.keys() ^ state.keys()):
        raise CheckpointError(f"tensors that only one of network and checkpoint has: {', '.join(differing[:8])}")
    for name, value in state.items():
        if value.shape != own[name]:
            raise CheckpointError(f"{name!r} is {tuple(value.shape)} in the checkpoint, {tuple(own[name])} here")
    module.load_state_dict(dict(state))


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The running tensors of an optimizer: {"<parameter number>.<name>": tensor}. Rates come from the schedule."""
    return {
        f"{number}.{name}": value
        for number, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Put `optimizer_state` back. Raises CheckpointError where it belongs to other parameters.

    Empty, as before the first step, or whole: the same tensors for each parameter.
    """
    whole = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        number, _, name = key.partition(".")
        if not number.isdigit() or int(number) >= len(parameters):
            raise CheckpointError(f"optimizer state {key!r} belongs to no parameter of this model")
        parameter = parameters[int(number)]
        wanted = () if name == "step" else tuple(parameter.shape)
        if tuple(value.shape) != wanted:
            raise CheckpointError(f"optimizer state {key!r} is {tuple(value.shape)}, not {wanted}")
        # In the parameter's memory format: a fused optimizer goes through both as they lie in memory.
        laid = value if name == "step" else torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        slots.setdefault(int(number), {})[name] = laid
    names = {frozenset(slot) for slot in slots.values()}
    if slots and (len(slots) < len(parameters) or len(names) > 1):
        raise CheckpointError(f"optimizer state covers {len(slots)} of {len(parameters)} parameters, or some in part")
    whole["state"] = slots
    optimizer.load_state_dict(whole)


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """Tensors by name as one safetensors file."""
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in state.items()})


def from_bytes(data: bytes) -> dict[str, Tensor]:
    """Read `to_bytes` back. Raises CheckpointError if `data` is not a safetensors file."""
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"not a safetensors file ({error}); give the model.safetensors of a training") from error


def require_finite(state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError, naming the tensors, where some hold NaN or infinity."""
    # A sum is finite only if all of its terms are, and costs a tenth of asking each; a large one may overflow.
    doubted = [name for name, value in state.items() if value.is_floating_point() and not _sums_up(value)]
    if bad := [name for name in doubted if not torch.isfinite(state[name]).all()]:
        raise CheckpointError(f"{len(bad)} tensors are not finite (NaN or infinity): {', '.join(bad[:4])}")


def _sums_up(value: Tensor) -> bool:
    return bool(torch.isfinite(value.detach().sum()))
