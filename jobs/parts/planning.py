"""What a colouring job has to do: inputs less what its output folder says is done."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from datasets.archive import ChapterRef, find_chapters
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.ledger import HOME, SUCCESS, Ledger, Manifest
from jobs.parts.recipe import Recipe
from jobs.parts.stages import Todo

log = logging.getLogger("mangahue")


@dataclass
class Work:
    """The job's chapters, what is to do, and what came of each; `results` holds earlier runs' as well."""

    inputs: list[ChapterRef]
    todo: list[Todo]
    results: dict[str, Manifest]
    computed: set[str] = field(default_factory=set)

    def record(self, manifests: Iterable[Manifest]) -> None:
        """Take up the outcome of each chapter as it comes."""
        for manifest in manifests:
            self.results[manifest.rel] = manifest
            self.computed.add(manifest.rel)


def plan(source: str, ledger: Ledger, recipe: Recipe, *, replace: bool) -> Work:
    """Claim the output folder, commit what a killed run left published, and list what is missing.

    Raises BadUsageError where the folder is another job's, where source and output overlap, or where there is no
    chapter.
    """
    _check_apart(source, ledger.storage.uri)
    inputs = list(find_chapters(source))
    if not inputs:
        raise BadUsageError(f"--source {source} holds no chapter: no CBZ or ZIP archive and no folder with images")
    ledger.claim(recipe.as_job(), replace=replace)
    known = ledger.manifests()
    for manifest in ledger.recover(known):
        log.info("recovered %s: it was published before its manifest was written", manifest.rel)
        known[manifest.rel] = manifest
    done = {ref.rel: known[ref.rel] for ref in inputs if ledger.covers(known.get(ref.rel), ref)}
    # A manifest that does not cover its chapter tells of an older source, or of other weights.
    todo = [Todo(ref, replace=ref.rel in known) for ref in inputs if ref.rel not in done]
    if todo:
        ledger.storage.delete(SUCCESS)
    log.info("%d chapters, %d done already, %d to do", len(inputs), len(done), len(todo))
    return Work(inputs, todo, done)


def _check_apart(source: str, out: str) -> None:
    inner, outer = f"{open_storage(out).uri}/", f"{open_storage(source).uri}/"
    if inner.startswith(outer) or outer.startswith(f"{inner}{HOME}/"):
        raise BadUsageError(f"--out {out} lies in --source {source}: its chapters would be coloured again; keep apart")
