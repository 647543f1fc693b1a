"""Weights fitted to the reference pages of a job (--adapt). They are made once, and kept in the output folder."""

import logging
from functools import partial
from typing import Any

import torch

import models
from datasets.errors import BadUsageError, ObjectExistsError, ObjectNotFoundError
from datasets.storage import open_storage
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.ledger.ledger import HOME
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import as_inputs, gpu_here
from jobs.parts.runtime.progress import Meter
from models.card import CheckpointError, fingerprint
from models.checkpoint import from_bytes, to_bytes
from models.exemplar import Exemplar
from models.exemplar_adapting import adapt

log = logging.getLogger("mangahue")


def adapt_once(settings: JobSettings) -> None:
    """Fit the job's network to its reference pages, here, unless a run of this job has done so.

    The file has the tensors that changed; none where no page held out gained by it. Of two runs the first to write it
    wins, and both colour with that.
    """
    storage, key = open_storage(settings.out), _key(settings)
    if not settings.adapt or settings.reference_pages is None or storage.stat(key) is not None:
        return
    variant = load_model(settings.model, settings.card)
    assert isinstance(variant, Exemplar)  # JobSettings refuses any other
    device = torch.device("cuda" if gpu_here(settings.device) else "cpu")
    variant.generator().to(device)
    ink, target = as_inputs(settings.reference_pages.grays, settings.reference_pages.chromas)
    log.info("--adapt %d: the network is fitted to %d reference pages", settings.adapt, len(ink))
    with Meter("adapt", 2 * settings.adapt, "steps") as meter:  # half of them, where no page held out gains
        pages = ink.to(device), target.to(device)
        changed, share = adapt(variant, *pages, settings.adapt, each=partial(meter.advance, 1))
    if changed:
        log.info("pages held out gained by it: %d %% of what was learnt is kept", round(100 * share))
    else:
        log.info("no page held out gained by it: the network stays as it is")
    try:
        storage.put(key, to_bytes(changed), if_absent=True)
    except ObjectExistsError:
        log.info("another run has kept its own weights: those are taken")


def take_up(variant: models.Variant, settings: JobSettings) -> dict[str, Any]:
    """Have the job's network colour with the weights that were fitted.

    Returns its card, with the digest of the weights it has now. Raises BadUsageError where the file is missing or
    damaged.
    """
    if not settings.adapt:
        return settings.card
    key = _key(settings)
    try:
        data = open_storage(settings.out).read(key)
        changed = from_bytes(data)
        network = variant.generator()
        own = network.state_dict()
        if unknown := [name for name, value in changed.items() if name not in own or own[name].shape != value.shape]:
            raise CheckpointError(f"the model has no such tensors: {', '.join(unknown[:4])}")
    except ObjectNotFoundError as error:
        raise BadUsageError(f"{settings.out}/{key}, the weights of --adapt, is missing; run the job again") from error
    except CheckpointError as error:
        raise BadUsageError(
            f"{settings.out}/{key}, the weights of --adapt, is damaged; delete the file, and run the job again"
        ) from error
    network.load_state_dict({**own, **changed})
    return {**settings.card, "weights_sha256": fingerprint(settings.card["weights_sha256"].encode() + data)}


def _key(settings: JobSettings) -> str:
    return f"{HOME}/adapted-{settings.fingerprint[:16]}.safetensors"
