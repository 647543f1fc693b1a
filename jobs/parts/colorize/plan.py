"""What a colouring job has to do: the input chapters, less those that the output folder says are done."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path, PurePosixPath

from datasets.archive import REBUILT_SUFFIXES, ZIP_SUFFIXES, ChapterRef, find_chapters, suffix_of
from datasets.errors import BadUsageError, Code, MangahueError
from datasets.names import composed
from datasets.storage import open_storage
from jobs.parts.colorize.decide import Decision, decide
from jobs.parts.colorize.hints import ChapterHints
from jobs.parts.colorize.previews import SAMPLED_CHAPTERS
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.ledger.ledger import HOME, PALETTE, SUCCESS, Ledger
from jobs.parts.ledger.manifest import Manifest, number_of
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import as_json

log = logging.getLogger("mangahue")


@dataclass
class JobState:
    """The chapters of a job, and what became of each.

    inputs: all chapters of the source, those that can't be used included.
    tasks: the chapters to colour.
    results: the summary of each chapter that has an outcome, by `rel`; those of earlier runs are included.
    computed: chapters that got an outcome during this run, other than a failure.
    edited: chapters that are done again because a palette colour, a hint or a marked page was edited.
    stopped: why the job ended before all was done; "" where it did not.
    """

    inputs: list[ChapterRef]
    tasks: list[ChapterTask]
    results: dict[str, Manifest]
    computed: set[str] = field(default_factory=set)
    edited: set[str] = field(default_factory=set)
    stopped: str = ""

    def record(self, manifest: Manifest) -> None:
        """Note the outcome of a chapter."""
        self.results[manifest.rel] = manifest.summary()
        if manifest.status != "failed":
            self.computed.add(manifest.rel)


def plan(source: str, ledger: Ledger, settings: JobSettings, *, replace: bool) -> JobState:
    """Claim the output folder, commit what a killed run left published, and list what is missing.

    source: URI of the chapters.
    replace: take over a folder that other weights or settings made.
    Raises BadUsageError where the folder belongs to another job, where source and output overlap, or where the source
    holds no chapter.
    """
    _check_apart(source, ledger.storage.uri)
    ended: dict[str, Manifest] = {}
    refused: list[ChapterRef] = []

    def end(ref: ChapterRef, error: MangahueError) -> None:
        refused.append(ref)
        ended[ref.rel] = _unusable(ref, error, ledger)

    inputs = list(find_chapters(source, end))
    if len(inputs) == 1:
        _check_beside(inputs[0], ledger.storage.uri, keep_format=settings.policy.keep_format)
    if not inputs and not refused:
        raise BadUsageError(f"--source {source} holds no chapter: no archive, and no folder with images")
    hints = settings.hints.by_chapter(ref.rel for ref in inputs) if settings.hints else {}
    ledger.claim(settings.as_job(), replace=replace)
    known = ledger.manifests(ref.rel for ref in inputs)
    known |= ledger.recover()
    policy = settings.policy
    outputs = {ref.rel: output_of(ref, keep_format=policy.keep_format) for ref in inputs}
    ended |= {manifest.rel: manifest for manifest in _collisions(inputs, outputs, ledger)}
    for ref in (ref for ref in inputs if ref.rel not in ended):
        manifest_there = known.get(ref.rel)
        if manifest_there is not None and manifest_there.status == "failed":
            # Storage refuses the manifest: what is published is not known.
            ended[ref.rel] = changed(manifest_there, source=ref.uri, version=ref.version)
            continue
        digest, marks = hints.get(ref.rel, ChapterHints()).digest(), settings.marked.of(ref.rel)
        match decide(ref, manifest_there, ledger, policy, digest, marks, replace=replace):
            case Decision.DONE:
                ended[ref.rel] = known[ref.rel]
            case Decision.COLLISION:
                ended[ref.rel] = _of_another_source(ref, known[ref.rel], ledger)
    samples = {ref.rel for ref in inputs[:: max(1, -(-len(inputs) // SAMPLED_CHAPTERS))]}
    tasks = [
        ChapterTask(
            ref,
            outputs[ref.rel],
            over=number_of(known.get(ref.rel)),
            policy=policy,
            hints=hints.get(ref.rel, ChapterHints()),
            marks=settings.marked.of(ref.rel),
            sample=ref.rel in samples,
        )
        for ref in inputs
        if ref.rel not in ended
    ]
    edited = {item.ref.rel for item in tasks if _is_edited(known.get(item.ref.rel), item.ref, ledger)}
    if tasks:
        ledger.storage.delete(SUCCESS)
    palette = settings.pages.palette
    if palette is not None and read_json(ledger.storage, PALETTE) != palette.to_dict():
        ledger.storage.put(PALETTE, as_json(palette.to_dict()))
    log.info("%d chapters, %d done already, %d to do", len(inputs) + len(refused), len(ended), len(tasks))
    if edited:
        log.info(
            "%d chapters use a colour of the palette, or have a hint or a marked page, that was edited", len(edited)
        )
    return JobState([*inputs, *refused], tasks, ended, edited=edited)


def _unusable(ref: ChapterRef, error: MangahueError, ledger: Ledger) -> Manifest:
    """The manifest of an entry that `find_chapters` could not use. A bad key is its own fault, all else may pass."""
    status, code = ("quarantined", Code.NAME) if isinstance(error, BadUsageError) else ("failed", type(error).__name__)
    return ledger.unpublished(ref, status, code=code, message=str(error))


def _is_edited(manifest: Manifest | None, ref: ChapterRef, ledger: Ledger) -> bool:
    return manifest is not None and manifest.is_published and ledger.made(manifest, ref)


def output_of(ref: ChapterRef, *, keep_format: bool = False) -> str:
    """The key of a chapter in the output. A folder or a ZIP archive keeps its name; any other archive becomes a CBZ.
    A picture gets its name when it is published, by its format.

    keep_format: a PDF stays a PDF, and an EPUB an EPUB.
    """
    kept = ZIP_SUFFIXES | REBUILT_SUFFIXES if keep_format else ZIP_SUFFIXES
    if ref.kind != "archive" or suffix_of(ref.rel) in kept:
        return ref.rel
    return str(PurePosixPath(ref.rel).with_name(f"{ref.name}.cbz"))


def _collisions(inputs: Sequence[ChapterRef], outputs: dict[str, str], ledger: Ledger) -> list[Manifest]:
    """Manifests of chapters that can't be coloured because another has the same output.

    Of chapters with one output, in whatever Unicode form, the one that has that name already is coloured, else the
    first. The others are quarantined.
    """
    owners: dict[str, str] = {}
    for ref in sorted(inputs, key=lambda ref: (outputs[ref.rel] != ref.rel, ref.rel)):
        owners.setdefault(composed(outputs[ref.rel]), ref.rel)
    owner_of = {ref.rel: owners[composed(outputs[ref.rel])] for ref in inputs}
    clash = "its output {} is that of {} too; rename one of the two"
    return [
        _collision(ref, ledger, clash.format(outputs[ref.rel], owner_of[ref.rel]))
        for ref in inputs
        if owner_of[ref.rel] != ref.rel
    ]


def _of_another_source(ref: ChapterRef, manifest: Manifest, ledger: Ledger) -> Manifest:
    """The outcome of a chapter whose output was made of a chapter of another source."""
    message = (
        f"its output {manifest.output or ref.rel} was made of {manifest.source}; give another --out, or --replace if "
        "it is to be replaced, or if the library has moved and this chapter changed"
    )
    return _collision(ref, ledger, message)


def _collision(ref: ChapterRef, ledger: Ledger, message: str) -> Manifest:
    return ledger.unpublished(ref, "quarantined", code=Code.COLLISION, message=message)


def _check_beside(ref: ChapterRef, out: str, *, keep_format: bool) -> None:
    """Raises BadUsageError where the chapter's output may be its own source: a file alone, coloured into its folder.
    Of more than one file, `_check_apart` has told.
    """
    own = ref.kind == "picture" or output_of(ref, keep_format=keep_format) == ref.key
    if ref.kind != "folder" and own and _resolved(ref.root) == _resolved(out):
        raise BadUsageError(
            f"--out {out} is the folder of --source {ref.uri}, which would be overwritten; give another"
        )


def _resolved(uri: str) -> str:
    """Where a storage is, with links on disk followed, composed."""
    where = open_storage(uri).uri
    return composed(where if "://" in where else str(Path(where).resolve()))


def _check_apart(source: str, out: str) -> None:
    inner, outer = f"{_resolved(out)}/", f"{_resolved(source)}/"
    if inner.startswith(outer) or outer.startswith(f"{inner}{HOME}/"):
        raise BadUsageError(f"--out {out} lies in --source {source}: its chapters would be coloured again; keep apart")
