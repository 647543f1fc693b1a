"""Checkpoints: whole ones come back, others are refused, and none is ever executed."""

import io
import json
import os
import pickle
import struct
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import models
from models.card import CheckpointError, fingerprint, parse_card
from models.checkpoint import from_bytes, join_state, optimizer_state, restore_optimizer, split_state, to_bytes

TINY = {"image_size": 64, "base_channels": 8}


@cache
def published() -> tuple[bytes, bytes]:
    """model.json and model.safetensors of an untrained model."""
    torch.manual_seed(0)
    variant = models.build("pix2pix", TINY)
    weights = to_bytes(variant.generator().state_dict())
    return card_for(weights, config=asdict(variant.config)), weights


def card_for(weights: bytes, **changes: Any) -> bytes:
    card = {"variant": "pix2pix", "config": TINY, "weights_sha256": fingerprint(weights), **changes}
    return json.dumps(card).encode()


def safetensors_of(dtype: str, size: int) -> bytes:
    header = json.dumps({"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


class Malicious:
    """Unpickling one makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


# Tensors as bytes.


def test_tensors_come_back_bit_for_bit() -> None:
    state = {
        "float": torch.randn(3, 4),
        "a view": torch.randn(4, 6).T[1:],
        "half": torch.randn(5).bfloat16(),
        "number": torch.tensor(7),
        "nothing": torch.zeros(0, 3),
        "learnt": nn.Parameter(torch.randn(2)),
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
    }

    again = from_bytes(to_bytes(state))

    assert again.keys() == state.keys()
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert again[name].shape == value.shape
        assert torch.equal(torch.nan_to_num(again[name], 9.0), torch.nan_to_num(value.detach(), 9.0))
        assert not again[name].requires_grad


def test_two_names_of_one_tensor_are_both_kept() -> None:
    tensor = torch.randn(3)

    again = from_bytes(to_bytes({"one": tensor, "other": tensor.clone()}))

    assert torch.equal(again["one"], again["other"])


def test_the_same_tensors_make_the_same_file() -> None:
    state = {"b": torch.arange(4.0), "a": torch.arange(3)}

    assert fingerprint(to_bytes(state)) == fingerprint(to_bytes(dict(reversed(state.items()))))
    assert fingerprint(to_bytes(state)) != fingerprint(to_bytes({**state, "a": torch.arange(1, 4)}))


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.001, 0.5, 0.999])
def test_a_file_cut_short_is_refused(share: float) -> None:
    weights = published()[1]

    with pytest.raises(CheckpointError, match="safetensors"):
        from_bytes(weights[: int(len(weights) * share)])


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(CheckpointError):
        assert isinstance(from_bytes(data), dict)


@given(st.integers(0, 400), st.integers(1, 255))
@settings(max_examples=100)
def test_a_damaged_header_is_read_or_refused(place: int, change: int) -> None:
    weights = bytearray(to_bytes({"first.weight": torch.randn(8, 4), "steps": torch.tensor(3)}))
    weights[place % len(weights)] ^= change
    with suppress(CheckpointError):
        assert isinstance(from_bytes(bytes(weights)), dict)


@pytest.mark.parametrize(("dtype", "size"), [("F8_E8M0", 8), ("F4", 4), ("F6_E2M3", 6)])
def test_a_kind_of_number_that_torch_lacks_is_refused(dtype: str, size: int) -> None:
    with pytest.raises(CheckpointError, match="safetensors"):
        from_bytes(safetensors_of(dtype, size))


# Pickles.


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
def test_a_pickle_is_refused_and_never_executed(kind: str, tmp_path: Path) -> None:
    def armed(folder: Path) -> bytes:
        file = io.BytesIO()
        if kind == "pickle":
            pickle.dump({"first.weight": Malicious(folder)}, file)
        else:
            state = {"first.weight": Malicious(folder)}
            torch.save(state, file, _use_new_zipfile_serialization=kind == "torch")
        return file.getvalue()

    control = armed(tmp_path / "control")
    if kind == "pickle":
        pickle.loads(control)
    else:
        torch.load(io.BytesIO(control), weights_only=False)
    assert (tmp_path / "control").exists()  # the attack is a real one

    attack = armed(tmp_path / "victim")
    with pytest.raises(CheckpointError, match="safetensors"):
        from_bytes(attack)
    with pytest.raises(CheckpointError):
        models.load(card_for(attack), attack)
    with pytest.raises(CheckpointError):
        parse_card(attack)

    assert not (tmp_path / "victim").exists()


# States of networks and optimizers.


def test_the_parts_of_a_state_come_apart_as_they_were_joined() -> None:
    parts = {
        "generator": {"levels.down.1.weight": torch.randn(2), "a/b": torch.randn(1)},
        "optimizer": {"0.step": torch.tensor(1.0)},
    }

    again = split_state(from_bytes(to_bytes(join_state(parts))))

    assert {part: state.keys() for part, state in again.items()} == {part: s.keys() for part, s in parts.items()}
    assert torch.equal(again["generator"]["a/b"], parts["generator"]["a/b"])


def stepped(seed: int = 0, steps: int = 2) -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(seed)
    layer = nn.Linear(3, 2)
    adam = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(steps):
        adam.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        adam.step()
    return layer, adam


def test_the_running_tensors_of_an_optimizer_come_back_and_its_rate_stays() -> None:
    _, adam = stepped()
    _, other = stepped(seed=1, steps=0)
    other.param_groups[0]["lr"] = 0.03

    restore_optimizer(other, optimizer_state(adam))

    expected, restored = optimizer_state(adam), optimizer_state(other)
    assert restored.keys() == expected.keys()
    assert len(expected) == 6  # step, exp_avg and exp_avg_sq of a weight and a bias
    assert all(torch.equal(restored[key], value) for key, value in expected.items())
    assert other.param_groups[0]["lr"] == 0.03


@pytest.mark.parametrize("key", ["2.exp_avg", "99.step", "-1.exp_avg", "weight.exp_avg", "exp_avg", ""])
def test_the_state_of_an_unknown_parameter_is_refused(key: str) -> None:
    _, adam = stepped()

    with pytest.raises(CheckpointError, match="belongs to no parameter"):
        restore_optimizer(adam, {**optimizer_state(adam), key: torch.zeros(2, 3)})


@pytest.mark.parametrize("shape", [(3, 2), (2,), (2, 3, 1)])
def test_the_state_of_a_parameter_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    _, adam = stepped()

    with pytest.raises(CheckpointError, match=r"0\.exp_avg"):
        restore_optimizer(adam, {**optimizer_state(adam), "0.exp_avg": torch.zeros(shape)})


def test_a_refused_state_leaves_the_optimizer_as_it_was() -> None:
    _, adam = stepped()
    before = {key: value.clone() for key, value in optimizer_state(adam).items()}

    with pytest.raises(CheckpointError):
        restore_optimizer(adam, {**optimizer_state(stepped(seed=4)[1]), "0.exp_avg": torch.zeros(7)})

    assert all(torch.equal(before[key], value) for key, value in optimizer_state(adam).items())


# Cards, and what belongs to them.


@pytest.mark.parametrize("lacking", ["variant", "config", "weights_sha256"])
def test_a_card_that_lacks_an_entry_is_refused_by_its_name(lacking: str) -> None:
    card = json.loads(published()[0])
    del card[lacking]

    with pytest.raises(CheckpointError, match=lacking):
        parse_card(json.dumps(card).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"\x80\x04", b"null", b"[]", b"3", b'"variant"'])
def test_what_is_no_card_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="card"):
        parse_card(data)


def test_a_card_of_endless_depth_is_refused() -> None:
    with pytest.raises(CheckpointError, match="card"):
        parse_card(b"[" * 200_000)


def test_a_published_model_loads_with_its_card() -> None:
    card, weights = published()

    variant, parsed = models.load(card, weights)

    assert parsed == json.loads(card)
    state: dict[str, Tensor] = variant.generator().state_dict()
    assert all(torch.equal(state[name], value) for name, value in from_bytes(weights).items())


@pytest.mark.parametrize("place", [0, 60, -1])
def test_weights_with_a_flipped_bit_are_refused(place: int) -> None:
    card, weights = published()
    damaged = bytearray(weights)
    damaged[place] ^= 1

    with pytest.raises(CheckpointError, match="sha256"):
        models.load(card, bytes(damaged))


def test_the_weights_of_another_training_are_refused() -> None:
    torch.manual_seed(1)
    other = to_bytes(models.build("pix2pix", TINY).generator().state_dict())

    with pytest.raises(CheckpointError, match="sha256"):
        models.load(published()[0], other)


def renamed() -> bytes:
    state = from_bytes(published()[1])
    state["first.weights"] = state.pop("first.weight")
    return to_bytes(state)


def shortened() -> bytes:
    state = from_bytes(published()[1])
    del state["last.bias"]
    return to_bytes(state)


def lengthened() -> bytes:
    return to_bytes({**from_bytes(published()[1]), "palette": torch.zeros(3)})


@pytest.mark.parametrize("weights", [renamed, shortened, lengthened])
def test_weights_that_do_not_fit_the_network_are_refused(weights: Any) -> None:
    with pytest.raises(CheckpointError, match=r"rebuild|no table of options"):
        models.load(card_for(weights()), weights())


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "pix3pix"},
        {"variant": None},
        {"variant": ["pix2pix"]},
        {"config": {**TINY, "base_channels": 16}},
        {"config": {**TINY, "target": "rgb"}},
        {"config": {**TINY, "image_size": 128}},
        {"config": {**TINY, "image_size": "64"}},
        {"config": {**TINY, "base_channels": 0}},
        {"config": {**TINY, "learning_rate": None}},
        {"config": None},
        {"config": ["image_size"]},
    ],
    ids=str,
)
def test_a_card_that_describes_another_model_is_refused(changes: dict[str, Any]) -> None:
    weights = published()[1]

    with pytest.raises(CheckpointError, match=r"rebuild|no table of options"):
        models.load(card_for(weights, **changes), weights)


@pytest.mark.parametrize("fingerprint_", [None, 3, "", "0" * 64])
def test_a_card_with_another_fingerprint_is_refused(fingerprint_: object) -> None:
    weights = published()[1]

    with pytest.raises(CheckpointError, match="sha256"):
        models.load(card_for(weights, weights_sha256=fingerprint_), weights)
