"""Weights of a public code: read, run on images, published as a model of ours."""

import io
import logging
from typing import Any

import numpy as np
import torch

from datasets.errors import BadUsageError
from datasets.storage import Storage, open_storage, split_uri
from imaging.color import F32
from jobs.parts.import_weights.config import ImportConfig
from jobs.parts.model.folder import CARD, ModelCard, publish
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.options import as_settings, read_given
from models.card import CheckpointError, fingerprint
from models.checkpoint import require_finite, to_bytes
from models.importing import Imported, import_network, read_state_dict

log = logging.getLogger("mangahue")


def read_weights(uri: str) -> bytes:
    """The file of --weights. Raises BadUsageError where it does not exist."""
    return read_given(uri, "--weights", "the .pth of the public code")


def read_images(uri: str) -> F32:
    """The array of --run, (N, C, H, W) float32. Raises BadUsageError for anything else. Nothing is unpickled."""
    data = read_given(uri, "--run", "an .npy of images")
    try:
        images = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadUsageError(f"--run {uri}: not an .npy array of numbers ({error}); write it with numpy.save") from error
    if not isinstance(images, np.ndarray) or images.dtype != np.float32 or images.ndim != 4 or not images.size:
        what = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else "an archive"
        raise BadUsageError(f"--run {uri} is {what}; give images as float32 N x C x H x W")
    return images


def import_weights(config: ImportConfig, data: bytes) -> Imported:
    """The network of --from with the weights in `data`. Raises BadUsageError where they do not fit it, or are not
    finite.
    """
    try:
        network = import_network(config.source, read_state_dict(data))
        require_finite(network.variant.generator().state_dict())
    except CheckpointError as error:
        raise BadUsageError(f"--weights {config.weights}: {error}") from error
    if network.dropped:
        log.info("%d keys left out, which no network uses: %s", len(network.dropped), ", ".join(network.dropped))
    return network


def claim_folder(folder: Storage, config: ImportConfig, data: bytes) -> None:
    """Raises BadUsageError where the folder holds another model."""
    earlier = read_json(folder, CARD)
    if earlier is not None and earlier.get("origin") != _origin(config, data):
        raise BadUsageError(f"--out {folder.uri} holds another model; give another folder")


def run_raw(network: Imported, images: F32, config: ImportConfig) -> None:
    """Write the network's output for these images to --save. Raises BadUsageError for images that it can't take."""
    if images.shape[1] != network.in_channels:
        raise BadUsageError(
            f"--run {config.run} has {images.shape[1]} channels; this network takes {network.in_channels}"
        )
    try:
        with torch.inference_mode():
            colors = network.raw(torch.from_numpy(images)).numpy()
    except (RuntimeError, ValueError) as error:  # the network can't halve, pad or normalise images of these sides
        height, width = images.shape[2:]
        raise BadUsageError(
            f"--run {config.run}: the network can't take images of {height} x {width} ({error}); "
            f"give sides that are multiples of {network.variant.image_size}"
        ) from error
    buffer = io.BytesIO()
    np.save(buffer, colors)
    where, name = split_uri(config.save)
    open_storage(where).put(name, buffer.getvalue())
    log.info("%s put through the network; its output %s is in %s", images.shape, colors.shape, config.save)


def publish_imported(folder: Storage, config: ImportConfig, network: Imported, data: bytes) -> None:
    """Publish the network as a model folder, as a training does."""
    variant = network.variant
    card = ModelCard(variant=variant.name, config=as_settings(variant.config), origin=_origin(config, data))
    publish(folder, card, to_bytes(variant.generator().state_dict()))
    log.info("the model, a %s, is in %s", variant.name, folder.uri)


def _origin(config: ImportConfig, data: bytes) -> dict[str, Any]:
    return {"imported": {"from": config.source, "sha256": fingerprint(data)}}
