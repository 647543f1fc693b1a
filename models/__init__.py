"""Networks, losses, training steps: torch only; no Ray, no files.

What jobs need of them has its names here. They are imported when one is first used, since torch takes seconds to load:
who reads a model's card (models.card) does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.card import CheckpointError
    from models.registry import VARIANTS, build, load
    from models.training import Mechanics, Precision, Training
    from models.variant import Coloring, Variant, VariantConfig

_HOMES = {
    "VARIANTS": "registry",
    "CheckpointError": "card",
    "Coloring": "variant",
    "Mechanics": "training",
    "Precision": "training",
    "Training": "training",
    "Variant": "variant",
    "VariantConfig": "variant",
    "build": "registry",
    "load": "registry",
}
__all__ = [
    "VARIANTS",
    "CheckpointError",
    "Coloring",
    "Mechanics",
    "Precision",
    "Training",
    "Variant",
    "VariantConfig",
    "build",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
