"""What a model's card says: which variant, which config, which weights. No torch here: that takes seconds to load."""

import hashlib
import json
from typing import Any

# The variants that follow coloured pages and hints (`Variant.follows`), for who does not wait for torch to ask them.
FOLLOWING = frozenset({"exemplar"})
MOST_SHOWN = 12  # coloured pages that one page of such a variant looks at


class CheckpointError(ValueError):
    """A checkpoint that does not fit, is damaged, or is not one."""


def fingerprint(data: bytes) -> str:
    """sha256 of the weights file, in hex."""
    return hashlib.sha256(data).hexdigest()


def parse_card(data: bytes) -> dict[str, Any]:
    """Read a model card (model.json). Raises CheckpointError unless it names variant, config and weights."""
    try:
        card = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"the model card is not JSON: {error}") from error
    missing = [key for key in ("variant", "config", "weights_sha256") if not isinstance(card, dict) or key not in card]
    if missing:
        raise CheckpointError(f"the model card lacks {', '.join(missing)}; give the folder that train.py published")
    if not isinstance(card["config"], dict):
        raise CheckpointError("the model card's config is no table of options; give the folder that train.py published")
    return card
