"""The models to measure, and the names of what is shown beside them in figures and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from datasets.errors import BadUsageError
from datasets.shards import ShardSet
from jobs.parts.model.folder import read_card, refuse_not_finite, tell_bundled

INK, OURS, GRAY, MEAN, TRUTH = "ink", "ours", "gray page", "mean chroma", "truth"


def require_holdout(shards: ShardSet) -> None:
    """Raises BadUsageError where the shards have no held-out pages with ink and colours."""
    if not shards.examples("holdout", "pairs"):
        raise BadUsageError(
            f"--data {shards.uri} has no held-out pages with ink and colours; ingest again with another --holdout"
        )


@dataclass(frozen=True)
class Candidate:
    """A model to measure.

    name: its column in the table; "ours" where it is the only model.
    uri: its folder, or BUNDLED.
    card: its model card.
    """

    name: str
    uri: str
    card: Mapping[str, Any]


def find_candidates(uris: Sequence[str]) -> list[Candidate]:
    """The models at `uris`, each named after the folder of its run. Raises BadUsageError where one is missing, is named
    twice, or has weights that are not finite.
    """
    names = [OURS] if len(uris) == 1 else _short_names(uris)
    candidates = [Candidate(name, uri, read_card(uri)) for name, uri in zip(names, uris, strict=True)]
    for candidate in candidates:
        refuse_not_finite(candidate.uri)
        tell_bundled(candidate.uri, candidate.card)
    return candidates


def in_file_name(name: str) -> str:
    """A column's name as a part of a picture's file name."""
    return name.replace("/", "_")


def _short_names(uris: Sequence[str]) -> list[str]:
    """The run's folder of each RUN/model, with as many folders above it as are needed to tell the runs apart, from the
    other columns, and in file names. Where folders do not suffice, a number is added.
    """
    paths = [tuple(part for part in uri.split("/") if part) for uri in uris]
    if len(set(paths)) < len(paths):
        raise BadUsageError(f"--model {', '.join(uris)}: the same model is named twice; name each once")
    runs = [path[:-1] for path in paths]
    folders = [path if not run or runs.count(run) > 1 else run for path, run in zip(paths, runs, strict=True)]
    taken = {in_file_name(column) for column in (INK, OURS, GRAY, MEAN, TRUTH)}
    names = []
    for folder in folders:
        name = next(name for name in _names_of(folder, folders) if in_file_name(name) not in taken)
        taken.add(in_file_name(name))
        names.append(name)
    return names


def _names_of(folder: tuple[str, ...], folders: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """What a folder may be called, the best name first."""
    for depth in range(1, len(folder)):
        if [other[-depth:] for other in folders].count(folder[-depth:]) == 1:
            yield "/".join(folder[-depth:])
    yield "/".join(folder)
    for number in count(2):
        yield f"{'/'.join(folder)} ({number})"
