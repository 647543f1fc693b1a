"""Mendings of the log that can be taken back, one by one. The machine has to find each fault that comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from jobs.parts.colorize import decide
from jobs.parts.colorize.outcomes import ChapterOutcomes
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, number_of
from jobs.parts.ledger.publication import ArchivePublication, FolderPublication, Publication
from jobs.parts.ledger.revisions import Revisions

Mutant = Callable[[], AbstractContextManager[Any]]


def _nothing(*arguments: Any) -> None:
    """Stands for a step that is left out."""


def _forgetful(self: Ledger, manifest: Manifest, over: int) -> Manifest:
    return Revisions(self.storage).commit(replace(manifest, before=None), over)


def _late_quarantine(self: ChapterOutcomes, code: str, message: str) -> Manifest:
    """Written over whatever is there."""
    known = self.ledger.manifest(self.task.ref.rel)
    before = known.left if known is not None else None
    made = replace(self._unpublished("quarantined", code, message), policy=self.task.policy.digest(), before=before)
    return self.ledger.commit(made, number_of(known))


def _any_version(self: Publication, other: Manifest) -> bool:
    return other.is_published and self._output.holds(other)


def _only_archives(self: Ledger, known: Manifest | None, there: Manifest | None) -> Manifest | None:
    return None if there is None or there == known else self.commit(there, number_of(known))


def _of(owner: Any, name: str, value: Any) -> Mutant:
    return lambda: mock.patch.object(owner, name, value)


# By name; those of the first six are what a second look at the log had found.
MUTANTS: dict[str, Mutant] = {
    "quarantine-forgets": _of(Ledger, "commit", _forgetful),
    "two-sources": _of(decide, "is_of_another", lambda *arguments: False),
    "stale-pages": _of(FolderPublication, "_delete_what_is_gone", _nothing),
    "late-quarantine": _of(ChapterOutcomes, "quarantined", _late_quarantine),
    "other-format-stays": _of(ArchivePublication, "_delete_other_format", _nothing),
    "any-version": _of(Publication, "_is_equal", _any_version),
    # And more of the kind.
    "nothing-recovered": _of(Ledger, "recover", lambda self: {}),
    "half-overwritten-unseen": _of(Ledger, "_recovered", _only_archives),
    "strangers-unseen": _of(FolderPublication, "_check_ours", lambda self, name, digests: ""),
}
