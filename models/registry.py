"""The registry of variants: name -> class. A new variant is one file and one line here."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from models.card import CheckpointError, fingerprint, parse_card
from models.checkpoint import from_bytes, require_finite, restore_module
from models.colornet import Colornet
from models.cyclegan import CycleGAN
from models.exemplar import Exemplar
from models.hypercolumn import Hypercolumn
from models.pix2pix import Pix2Pix
from models.pix2pixhd import Pix2PixHD
from models.variant import Variant
from models.zhang import Zhang

VARIANTS: dict[str, type[Variant]] = {variant.name: variant for variant in (
    Pix2Pix, CycleGAN, Pix2PixHD, Colornet, Hypercolumn, Zhang, Exemplar,
)}  # fmt: skip


def build(name: str, options: Mapping[str, Any]) -> Variant:
    """A fresh variant. Of `options` it takes those that its config has. Raises ValueError naming a bad one."""
    if name not in VARIANTS:
        raise ValueError(f"variant is {name!r}; choose one of {', '.join(sorted(VARIANTS))}")
    config_type = VARIANTS[name].config_type
    known = {field.name for field in fields(config_type)}
    config = config_type(**{key: value for key, value in options.items() if key in known})
    return VARIANTS[name](config)  # type: ignore[call-arg]


def load(card: bytes, weights: bytes) -> tuple[Variant, dict[str, Any]]:
    """Rebuild a published variant from model.json and model.safetensors. Returns it with its card.

    Raises CheckpointError where the two do not belong together, where the file is damaged, or where weights are not
    finite. Nothing is unpickled.
    """
    parsed = parse_card(card)
    if fingerprint(weights) != parsed["weights_sha256"]:
        raise CheckpointError("model.safetensors is not the file that model.json describes (sha256 differs); copy both")
    try:
        variant = build(parsed["variant"], parsed["config"])
        restore_module(variant.generator(), from_bytes(weights))
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the model does not rebuild: {error}") from error
    require_finite(variant.generator().state_dict())
    return variant, parsed
