"""The models to measure, and the names of what is shown beside them in figures and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.errors import BadUsageError
from datasets.shards import ShardSet
from jobs.parts.model.folder import read_card

INK, OURS, GRAY, MEAN, TRUTH = "ink", "ours", "gray page", "mean chroma", "truth"


def require_holdout(shards: ShardSet) -> None:
    """Raises BadUsageError where the shards have no held-out pages."""
    if not shards.pages("holdout"):
        raise BadUsageError(f"--data {shards.uri} has no held-out pages; ingest again with --holdout")


@dataclass(frozen=True)
class Candidate:
    """A model to measure.

    name: its column in the table; "ours" where it is the only model.
    uri: its folder.
    card: its model card.
    """

    name: str
    uri: str
    card: Mapping[str, Any]


def find_candidates(uris: Sequence[str]) -> list[Candidate]:
    """The models at `uris`, each named after the folder of its run. Raises BadUsageError where one is missing or named
    twice.
    """
    names = [OURS] if len(uris) == 1 else _short_names(uris)
    return [Candidate(name, uri, read_card(uri)) for name, uri in zip(names, uris, strict=True)]


def _short_names(uris: Sequence[str]) -> list[str]:
    """The run's folder of each RUN/model, with as many folders above it as are needed to tell the runs apart."""
    folders = [tuple(part for part in uri.split("/") if part)[:-1] for uri in uris]
    if len(set(folders)) < len(folders):
        raise BadUsageError(f"--model {', '.join(uris)}: the same model is named twice; name each once")
    return [
        next(
            (
                "/".join(folder[-depth:])
                for depth in range(1, len(folder))
                if [other[-depth:] for other in folders].count(folder[-depth:]) == 1
            ),
            "/".join(folder),
        )
        for folder in folders
    ]
