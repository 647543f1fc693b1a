"""State dicts of the field's public codes, as our variants.

Key names and layer orders are those of junyanz/pytorch-CycleGAN-and-pix2pix (U-Net, ResNet generator),
NVIDIA/pix2pixHD (GlobalGenerator, LocalEnhancer), richzhang/colorization (ECCV16) and the notebook of
functorial/BerserkMangaColoring. Widths and depths are told from the shapes.
"""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imaging.target import AB_RANGE, CHANNELS
from models import build
from models.card import CheckpointError
from models.checkpoint import restore_module
from models.variant import Variant

_SHOWN = 20  # keys that an error lists
_UNET_DEPTHS = range(5, 9)  # the public code has no U-Net of fewer levels; 8 take 256 pixels to one
_HALVINGS = 4  # of pix2pixHD's global generator
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Imported:
    """A public network as ours.

    variant: ours, with the weights of the file.
    raw: the generator as its public code runs it, in eval mode.
    in_channels: of what `raw` takes.
    dropped: keys of the file that no network needs.
    """

    variant: Variant
    raw: nn.Module
    in_channels: int
    dropped: list[str]


@dataclass(frozen=True)
class _Plan:
    """How one file becomes our network.

    variant: its name.
    options: the variant's config.
    keys: {public key: key in the state of our generator}.
    raw: picks or makes the network that `Imported.raw` is.
    in_channels: of what that takes.
    reshaped: {public key: (its shape, what makes our tensor of it)}, for those that we keep in another form.
    fixed: {our key: value} that the file tells in another way.
    """

    variant: str
    options: dict[str, Any]
    keys: dict[str, str]
    raw: Callable[[Variant], nn.Module]
    in_channels: int = 3
    reshaped: Mapping[str, tuple[tuple[int, ...], Callable[[Tensor], Tensor]]] = field(default_factory=dict)
    fixed: dict[str, Tensor] = field(default_factory=dict)


def read_state_dict(data: bytes) -> dict[str, Tensor]:
    """The tensors by name in a file of torch.save; a "state_dict" inside is unwrapped. Nothing in it is run.

    Raises CheckpointError for a file that holds more than tensors, or none.
    """
    if not data.startswith((b"PK", b"\x80")):  # a zip archive, or the pickles of torch before 1.6
        raise CheckpointError("it is not a file that torch.save writes; give the .pth of the public code")
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            "it is damaged, or holds code and not just tensors, and is not opened: loading code would run it. Where "
            "the file comes from, save the tensors alone: torch.save(model.state_dict(), 'weights.pth')"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        raise CheckpointError(f"torch can't read it ({_first_line(error)}); it is damaged, fetch it again") from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not (isinstance(state, dict) and state and all(isinstance(key, str) for key in state)):
        raise CheckpointError("it holds no tensors by name; save torch.save(model.state_dict(), 'weights.pth')")
    if others := sorted(key for key, value in state.items() if not isinstance(value, Tensor)):
        raise CheckpointError(f"it has entries that are no tensors: {_listed(others)}; save model.state_dict() alone")
    return dict(state)


def import_network(source: str, state: State) -> Imported:
    """The network of a public code, one of SOURCES, with these weights.

    Raises CheckpointError listing the keys that are missing or unknown, or of another shape.
    """
    if all(key.startswith("module.") for key in state):  # as DataParallel saves
        state = {key.removeprefix("module."): value for key, value in state.items()}
    plan = SOURCES[source](state)
    dropped = sorted(key for key in state if key not in plan.keys and _is_unused_statistic(key, plan.keys))
    state = _with_counts({key: value for key, value in state.items() if key not in dropped}, plan.keys)
    try:
        with torch.device("meta"):
            sketch = build(plan.variant, plan.options)
    except ValueError as error:
        raise CheckpointError(f"our {plan.variant} can't be such a network: {error}") from error
    _check(source, state, plan, {key: tuple(value.shape) for key, value in sketch.generator().state_dict().items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same file is the same model, parts that it has not included
        variant = build(plan.variant, plan.options)
    taken = {
        ours: plan.reshaped[key][1](state[key]) if key in plan.reshaped else state[key]
        for key, ours in plan.keys.items()
    }
    restore_module(variant.generator(), {**variant.generator().state_dict(), **taken, **plan.fixed})
    return Imported(variant, plan.raw(variant).eval(), plan.in_channels, dropped)


def _check(source: str, state: State, plan: _Plan, own: Mapping[str, tuple[int, ...]]) -> None:
    faults = []
    if missing := sorted(plan.keys.keys() - state.keys()):
        faults.append(f"missing: {_listed(missing)}")
    if unknown := sorted(state.keys() - plan.keys.keys()):
        faults.append(f"unknown: {_listed(unknown)}")
    wanted = {key: plan.reshaped[key][0] if key in plan.reshaped else own[ours] for key, ours in plan.keys.items()}
    if misshapen := [
        f"{key} {tuple(state[key].shape)}, not {shape}"
        for key, shape in sorted(wanted.items())
        if key in state and tuple(state[key].shape) != shape
    ]:
        faults.append(f"of another shape: {_listed(misshapen, '; ')}")
    if faults:
        raise CheckpointError(f"these are not the weights of a {source} generator. " + ". ".join(faults))


def _is_unused_statistic(key: str, keys: Mapping[str, str]) -> bool:
    """Whether it is a running statistic of an InstanceNorm, which old torch saved and no code uses.

    They stand right behind a convolution: model.2.running_mean after model.1.weight.
    """
    if any(name.endswith(_STATISTICS) for name in keys):  # it has BatchNorm, which has them too
        return False
    found = re.fullmatch(rf"(.*\.)(\d{{1,4}})\.(?:{'|'.join(_STATISTICS)})", key)
    return found is not None and f"{found[1]}{int(found[2]) - 1}.weight" in keys


def _with_counts(state: dict[str, Tensor], keys: Mapping[str, str]) -> dict[str, Tensor]:
    """BatchNorm's counts of batches added where the file has none at all: torch before 0.4.1 kept none."""
    if any(key.endswith(".num_batches_tracked") for key in state):
        return state
    return {**state, **{key: torch.tensor(0) for key in keys if key.endswith(".num_batches_tracked")}}


# The table: of each public network its keys, beside our own.


def _pix2pix(state: State) -> _Plan:
    """U-Net: each level is nested in the one above, model.model.1.model.3.model.3 ..."""
    depth = max((key.count("model") for key in state), default=0) - 1
    depth = depth if depth in _UNET_DEPTHS else _UNET_DEPTHS[-1]
    keys = _conv("model.model.0", "first", bias=False) | _conv("model.model.3", "last")
    for level in range(1, depth):
        public, ours = "model.model.1" + ".model.3" * (level - 1), "levels" + ".below" * (level - 1)
        innermost = level == depth - 1
        up, norm = (3, 4) if innermost else (5, 6)
        keys |= _conv(f"{public}.model.1", f"{ours}.down.1", bias=False)
        keys |= {} if innermost else _batch_norm(f"{public}.model.2", f"{ours}.down.2")
        keys |= _conv(f"{public}.model.{up}", f"{ours}.up.1", bias=False)
        keys |= _batch_norm(f"{public}.model.{norm}", f"{ours}.up.2")
    inputs = _size(state, "model.model.0.weight", 1, 3)
    options = {
        "target": _target(state, "model.model.3.weight", 1),
        "image_size": 2**depth,
        "base_channels": _size(state, "model.model.0.weight", 0, 64),
        "in_channels": inputs,
    }
    return _Plan("pix2pix", options, keys, Variant.generator, inputs)


def _cyclegan(state: State) -> _Plan:
    """ResNet generator, one flat list: three convolutions, the blocks, two doublings, the last convolution."""
    blocks = _count(state, r"model\.(\d+)\.conv_block\..*") or 9
    ours = "generator.layers"
    keys: dict[str, str] = {}
    for index in (1, 4, 7):
        keys |= _conv(f"model.{index}", f"{ours}.{index}")
    for index in range(10, 10 + blocks):
        keys |= _residual(f"model.{index}", f"{ours}.{index}.layers", (1, 5))
    for index in (10 + blocks, 13 + blocks, 17 + blocks):
        keys |= _conv(f"model.{index}", f"{ours}.{index}")
    options = {"generator": "resnet", "base_channels": _size(state, "model.1.weight", 0, 64), "blocks": blocks}
    return _Plan("cyclegan", options, keys, lambda variant: variant.networks["to_color"])


def _berserk(state: State) -> _Plan:
    """The write-up's generator: three convolutions with BatchNorm, tied blocks, three transposed ones."""
    blocks = _count(state, r"res\.(\d+)\..*") or 9
    keys = _conv("dcv5.0", "generator.decoder.8", bias=False)
    layers = {"cv1": "encoder.0", "cv2": "encoder.3", "cv3": "encoder.6", "dcv3": "decoder.0", "dcv4": "decoder.4"}
    layers |= {f"res.{index}.cv": f"blocks.{index}.conv.0" for index in range(blocks)}
    for public, ours in layers.items():
        part, _, index = ours.rpartition(".")
        keys |= _conv(f"{public}.0", f"generator.{ours}", bias=False)
        keys |= _batch_norm(f"{public}.1", f"generator.{part}.{int(index) + 1}")
    options = {"generator": "skip", "base_channels": _size(state, "cv1.0.weight", 0, 32), "blocks": blocks}
    return _Plan("cyclegan", options, keys, lambda variant: variant.networks["to_color"])


def _pix2pixhd(state: State) -> _Plan:
    """A GlobalGenerator is phase 1 of our training, a LocalEnhancer, which holds the global part too, phase 3."""
    local = any(key.startswith("model1_") for key in state)
    blocks = _count(state, r"model\.(\d+)\.conv_block\..*") or 9
    local_blocks = _count(state, r"model1_2\.(\d+)\.conv_block\..*") or 3
    first_block, first_up = 4 + 3 * _HALVINGS, 4 + 3 * _HALVINGS + blocks
    last = first_up + 3 * _HALVINGS + 1
    keys: dict[str, str] = {}
    for index in (*range(1, first_block, 3), *range(first_up, last - 1, 3)):
        keys |= _conv(f"model.{index}", f"coarse.layers.{index - 1}")  # the public code pads in a layer of its own
    for index in range(first_block, first_up):
        keys |= _residual(f"model.{index}", f"coarse.layers.{index - 1}.body", (0, 3))
    if local:
        keys |= _conv("model1_1.1", "enhancer.down.0") | _conv("model1_1.4", "enhancer.down.3")
        for index in range(local_blocks):
            keys |= _residual(f"model1_2.{index}", f"enhancer.blocks.{index}.body", (0, 3))
        keys |= _conv(f"model1_2.{local_blocks}", "enhancer.up.0") | _conv(
            f"model1_2.{local_blocks + 4}", "enhancer.last"
        )
    else:
        keys |= _conv(f"model.{last}", "head.last")
    inputs = _size(state, "model.1.weight", 1, 3)
    options = {
        "target": _target(state, f"model1_2.{local_blocks + 4}.weight" if local else f"model.{last}.weight", 0),
        "base_channels": _size(state, "model.1.weight", 0, 64),
        "in_channels": inputs,
        "blocks": blocks,
        "local_blocks": local_blocks,
    }
    raw = Variant.generator if local else _global_generator
    return _Plan("pix2pixhd", options, keys, raw, inputs, fixed={"enhancer.phase": torch.tensor(3 if local else 1)})


def _global_generator(variant: Variant) -> nn.Module:
    return nn.Sequential(variant.networks["coarse"], variant.networks["head"])


def _zhang(state: State) -> _Plan:
    """ECCV16: its last layer, softmax to ab / 110, is our bins' centres; it takes the mean, temperature 1."""
    keys = {"model_out.weight": "network.bins.centres"}
    for block in range(1, 8):
        convolutions = 2 if block <= 2 else 3  # each before its ReLU
        for index in range(0, 2 * convolutions, 2):
            keys |= _conv(f"model{block}.{index}", f"network.model{block}.{index}")
        keys |= _batch_norm(f"model{block}.{2 * convolutions}", f"network.model{block}.{2 * convolutions}")
    for index in (0, 2, 4, 6):
        keys |= _conv(f"model8.{index}", f"network.model8.{index}")
    bins = _size(state, "model8.6.weight", 0, 313)
    options = {"base_channels": _size(state, "model1.0.weight", 0, 64), "bins": bins, "temperature": 1.0}
    reshaped = {"model_out.weight": ((2, bins, 1, 1), lambda weight: AB_RANGE * weight.flatten(1).T)}
    return _Plan("zhang", options, keys, _PublicZhang, in_channels=1, reshaped=reshaped)


class _PublicZhang(nn.Module):
    """ECCV16 as its public code runs it: L (N, 1, H, W) in [0, 100] -> ab (N, 2, H, W); H and W multiples of 8."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.network = variant.networks["network"]
        self.temperature: float = variant.config.temperature

    def forward(self, lightness: Tensor) -> Tensor:
        ab = self.network.bins.decode(self.network(lightness), self.temperature)  # type: ignore[operator, union-attr]
        return F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)


SOURCES: dict[str, Callable[[State], _Plan]] = {
    "pix2pix": _pix2pix,
    "cyclegan": _cyclegan,
    "pix2pixhd": _pix2pixhd,
    "zhang": _zhang,
    "berserk": _berserk,
}


# What the table is made of.


def _conv(public: str, ours: str, *, bias: bool = True) -> dict[str, str]:
    return {f"{public}.{name}": f"{ours}.{name}" for name in ("weight", "bias")[: 1 + bias]}


def _batch_norm(public: str, ours: str) -> dict[str, str]:
    return {f"{public}.{name}": f"{ours}.{name}" for name in ("weight", "bias", *_STATISTICS)}


def _residual(public: str, ours: str, convolutions: tuple[int, int]) -> dict[str, str]:
    """A residual block, reflection-padded. convolutions: where ours has the two."""
    first, second = convolutions
    return _conv(f"{public}.conv_block.1", f"{ours}.{first}") | _conv(f"{public}.conv_block.5", f"{ours}.{second}")


def _size(state: State, key: str, axis: int, published: int) -> int:
    """One side of a tensor; as published where there is none (then the check tells what is missing)."""
    return state[key].shape[axis] if key in state and state[key].dim() > axis else published


def _target(state: State, key: str, axis: int) -> str:
    channels = _size(state, key, axis, CHANNELS["rgb"])
    for target, count in CHANNELS.items():
        if count == channels:
            return target
    known = " or ".join(f"{count} ({target})" for target, count in CHANNELS.items())
    raise CheckpointError(f"its output has {channels} channels ({key}); a generator of ours has {known}")


def _count(state: State, pattern: str) -> int:
    """How many different numbers stand where the pattern's group is."""
    return len({found[1] for key in state if (found := re.fullmatch(pattern, key))})


def _listed(items: list[str], separator: str = ", ") -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return separator.join(items[:_SHOWN]) + more


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
