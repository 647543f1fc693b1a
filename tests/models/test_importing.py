"""State dicts of public codes: how they are read, and what of them is forgiven. The outputs: tests/jobs."""

import io
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from models.card import CheckpointError
from models.importing import SOURCES, import_network, read_state_dict
from tests import public_generators as public
from tests.public_generators import random_state

RESNET = public.resnet_shapes(3, 3, 4, 2, 2)
UNET = public.unet_shapes(3, 3, 4, 5)


def saved(value: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def weights_of(source: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return import_network(source, state).variant.generator().state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# Reading.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [dict, OrderedDict, lambda state: {"state_dict": state, "epoch": 3}])
def test_tensors_by_name_are_read(wrap: type, legacy: bool) -> None:
    state = random_state({"first.weight": (2, 3, 1, 1), "first.bias": (2,)})

    assert equal(read_state_dict(saved(wrap(state), legacy=legacy)), state)


@pytest.mark.parametrize("value", [torch.zeros(3), [torch.zeros(3)], {}, {1: torch.zeros(3)}, {"state_dict": 5}])
def test_other_things_than_tensors_by_name_are_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match="no tensors by name"):
        read_state_dict(saved(value))


def test_entries_that_are_no_tensors_are_named() -> None:
    with pytest.raises(CheckpointError, match="epoch, lr"):
        read_state_dict(saved({"weight": torch.zeros(3), "epoch": 3, "lr": 0.1}))


def test_a_whole_module_is_refused_with_the_way_to_save_it() -> None:
    with pytest.raises(CheckpointError, match=r"torch\.save\(model\.state_dict\(\)"):
        read_state_dict(saved(nn.Linear(2, 2)))


# What is forgiven.


def test_the_prefix_of_data_parallel_is_taken_off() -> None:
    state = random_state(RESNET)

    assert equal(
        weights_of("cyclegan", {f"module.{key}": value for key, value in state.items()}), weights_of("cyclegan", state)
    )


def test_a_prefix_of_some_keys_alone_is_not() -> None:
    state = random_state(RESNET)
    state["module.model.1.bias"] = state.pop("model.1.bias")

    with pytest.raises(CheckpointError, match=r"missing: model\.1\.bias\. unknown: module\.model\.1\.bias"):
        import_network("cyclegan", state)


def old_statistics() -> dict[str, Tensor]:
    """Of InstanceNorms behind the first convolution and in a residual block."""
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {f"{layer}.{name}": torch.ones(4) for layer in ("model.2", "model.10.conv_block.2") for name in names}


@pytest.mark.parametrize(("source", "halvings"), [("cyclegan", 2), ("pix2pixhd", 4)])
def test_running_statistics_of_instance_norms_are_dropped_and_told(source: str, halvings: int) -> None:
    state = random_state(public.resnet_shapes(3, 3, 4, halvings, 9))
    old = {key: value for key, value in old_statistics().items() if halvings == 2 or "block" not in key}

    imported = import_network(source, {**state, **old})

    assert imported.dropped == sorted(old)
    assert equal(imported.variant.generator().state_dict(), weights_of(source, state))
    assert import_network(source, state).dropped == []


@pytest.mark.parametrize("key", ["model.3.running_mean", "model.2.weight", "model.99.running_mean", "running_mean"])
def test_statistics_elsewhere_are_unknown(key: str) -> None:
    with pytest.raises(CheckpointError, match=f"unknown: {key}"):
        import_network("cyclegan", {**random_state(RESNET), key: torch.ones(4)})


def test_a_network_with_batch_norm_has_no_statistics_to_spare() -> None:
    key = "model.model.1.model.3.model.3.model.3.model.2.running_mean"  # the innermost level has no norm there

    with pytest.raises(CheckpointError, match=f"unknown: {key}"):
        import_network("pix2pix", {**random_state(UNET), key: torch.ones(32)})


def test_counts_of_batches_may_be_missing_as_in_old_torch_but_only_all_of_them() -> None:
    state = random_state(UNET)
    counts = [key for key in state if key.endswith("num_batches_tracked")]
    without = {key: value for key, value in state.items() if key not in counts}

    ours, forgiven = weights_of("pix2pix", state), weights_of("pix2pix", without)

    assert {key for key in ours if not torch.equal(ours[key], forgiven[key])} == {
        key for key in ours if key.endswith("num_batches_tracked")
    }
    with pytest.raises(CheckpointError, match=f"missing: {counts[0]}"):
        import_network("pix2pix", {key: value for key, value in state.items() if key != counts[0]})


def test_half_precision_weights_become_whole() -> None:
    state = random_state(RESNET)

    halves = weights_of("cyclegan", {key: value.half() for key, value in state.items()})

    assert {value.dtype for value in halves.values()} == {torch.float32}
    assert torch.equal(halves["generator.layers.1.weight"], state["model.1.weight"].half().float())


# What is not.


@pytest.mark.parametrize("source", SOURCES)
def test_long_lists_are_cut_and_counted(source: str) -> None:
    with pytest.raises(CheckpointError, match=r"unknown: x00, .*x19 and 5 more") as refusal:
        import_network(source, {f"x{number:02}": torch.zeros(1) for number in range(25)})

    assert "missing: " in str(refusal.value)


def test_torchs_random_numbers_go_on_as_if_nothing_was_imported() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)

    torch.manual_seed(3)
    import_network("cyclegan", random_state(RESNET))

    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("depth", [5, 7, 8])
def test_the_size_of_a_unet_is_what_its_depth_takes_to_one_pixel(depth: int) -> None:
    variant = import_network("pix2pix", random_state(public.unet_shapes(3, 3, 2, depth))).variant

    assert variant.image_size == 2**depth


def test_a_unet_deeper_than_published_is_refused() -> None:
    with pytest.raises(CheckpointError, match="unknown"):
        import_network("pix2pix", random_state(public.unet_shapes(3, 3, 2, 9)))
