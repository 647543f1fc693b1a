"""The end of a colouring job: count that no chapter is lost, write the report, choose the exit code."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable

from datasets.errors import Code, MangahueError
from jobs.parts.colorize.plan import JobState
from jobs.parts.colorize.report.drift_chart import drift_charts
from jobs.parts.colorize.report.job_report import ChapterLine, PagePreview, render_job_report
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.ledger.ledger import REPORT, REPORT_PAGE, SUCCESS, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.outcome import Exit, as_json, utc_now

log = logging.getLogger("mangahue")
_MOST_DOUBTED = 20  # doubted pages named in the log
_MOST_SHOWN = 100  # pages shown in the report
_STATUSES = ("done", "partial", "quarantined", "failed")
_ACTIONS = ("coloured", "kept", "flagged")


def conclude(state: JobState, ledger: Ledger, settings: JobSettings) -> Exit:
    """Count the outcomes, write the report and mark success.

    Nothing is written where the report in the folder already tells of these outcomes.
    Raises MangahueError where a chapter has no outcome.
    Returns DONE where every chapter is done. Returns PARTLY where the job was stopped, or where some chapters are done
    or partial. Returns FAILED otherwise.
    """
    inputs = {ref.rel for ref in state.inputs}
    if inputs != set(state.results):
        lost = ", ".join(sorted(inputs ^ set(state.results))[:5])
        raise MangahueError(f"chapters without an outcome: {lost}; this is a bug: please report it, and run again")
    counts = Counter(manifest.status for manifest in state.results.values())
    _complain(state.results.values())
    by_status = ", ".join(f"{counts[status]} {status}" for status in _STATUSES)
    log.info("%d chapters: %s; %d computed now -> %s", len(inputs), by_status, len(state.computed), ledger.storage.uri)
    if state.edited:
        again, taken = _pages_of_edited(state)
        log.info(
            "palette, hints or marked pages edited: %d pages done again, %d taken as they were published", again, taken
        )
    digest = _outcomes_digest(state, settings)
    if digest != _reported(ledger):
        _write(state, ledger, settings, {status: counts[status] for status in _STATUSES}, digest)
    if counts["done"] == len(inputs):
        return Exit.DONE
    return Exit.PARTLY if state.stopped or counts["done"] or counts["partial"] else Exit.FAILED


def _pages_of_edited(state: JobState) -> tuple[int, int]:
    """(pages computed, pages kept as published) of the chapters done again after an edit."""
    chapters = [state.results[rel] for rel in state.edited & state.computed]
    taken = sum(manifest.taken for manifest in chapters)
    return sum(manifest.count(action) for manifest in chapters for action in _ACTIONS) - taken, taken


def _complain(manifests: Iterable[Manifest]) -> None:
    """Log what is wrong, by chapter and page. Doubted pages of chapters that are done are logged up to a limit."""
    doubted = 0
    for manifest in manifests:
        for name, code, message in _complaints(manifest) if manifest.code != Code.STOPPED else ():
            doubted += manifest.status == "done"
            if manifest.status == "done" and doubted > _MOST_DOUBTED:
                continue
            named = {"chapter": manifest.rel, "page": name.removeprefix(manifest.rel).removeprefix("/")}
            said = "to look at" if manifest.status == "done" else manifest.status
            log.warning("%s: %s: %s %s", said, name, code, message, extra=named)
        for warning in manifest.warnings:
            log.warning("%s: %s", manifest.rel, warning, extra={"chapter": manifest.rel})
    if doubted > _MOST_DOUBTED:
        log.warning("%d more pages to look at are in the report", doubted - _MOST_DOUBTED)


def _complaints(manifest: Manifest) -> list[tuple[str, str, str]]:
    """(name, code, message): first of the chapter as a whole, then of its flagged pages, then of its doubted pages."""
    whole = [(manifest.rel, manifest.code, manifest.message)] if manifest.code else []
    pages = sorted((page for page in manifest.pages if page.code), key=lambda page: page.action == "coloured")
    return whole + [(f"{manifest.rel}/{page.name}", page.code, page.message) for page in pages]


def _outcomes_digest(state: JobState, settings: JobSettings) -> str:
    """A digest of every chapter's outcome and of the palette. A report that carries it is up to date."""
    outcomes = sorted((m.rel, m.version, m.fingerprint, m.status, m.sha256) for m in state.results.values())
    palette = settings.pages.palette
    content = outcomes if palette is None else [palette.to_dict(), outcomes]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _reported(ledger: Ledger) -> str | None:
    report = read_json(ledger.storage, REPORT)
    return str(report["state"]) if report and ledger.storage.stat(SUCCESS) is not None else None


def _write(state: JobState, ledger: Ledger, settings: JobSettings, counts: dict[str, int], digest: str) -> None:
    results = sorted(state.results.values(), key=lambda manifest: manifest.rel)
    lines = [chapter_line(manifest, ledger) for manifest in results]
    pages = {action: sum(m.count(action) for m in results) for action in _ACTIONS}
    finished = utc_now()
    report = {
        "fingerprint": ledger.fingerprint,
        "state": digest,
        "finished": finished,
        "inputs": len(results),
        "chapters": counts,
        "pages": pages,
        "computed": len(state.computed),
        "lines": [
            {**line.__dict__, "rel": m.rel, "published": m.output} for line, m in zip(lines, results, strict=True)
        ],
        "settings": settings.config,
    }
    if state.edited:
        report["edited"] = dict(zip(("pages_again", "pages_taken"), _pages_of_edited(state), strict=True))
    ledger.storage.put(REPORT, as_json(report))
    page = render_job_report(
        title="Coloured chapters",
        summary={
            "chapters": ", ".join(f"{count} {status}" for status, count in counts.items() if count),
            "pages": ", ".join(f"{count} {action}" for action, count in pages.items() if count),
            "model": f"{settings.card['variant']}, weights {settings.card['weights_sha256'][:12]}",
            "finished": finished,
        },
        chapters=lines,
        drifts=drift_charts([state.results[ref.rel].palette_usage for ref in state.inputs], settings.pages.palette),
        previews=previews_of(results),
        settings=settings.config,
    )
    ledger.storage.put(REPORT_PAGE, page.encode(), content_type="text/html; charset=utf-8")
    if not counts["failed"]:
        ledger.sweep([m for m in state.results.values() if m.code != Code.COLLISION])  # what lies there is another's
        ledger.storage.put(SUCCESS, b"")


def previews_of(results: Iterable[Manifest]) -> list[PagePreview]:
    """The pages that the report shows; those that the gate has something against come first."""
    shown = [
        PagePreview(m.source, page.name, page.preview, page.width, page.height, page.code, page.message)
        for m in results
        for page in m.pages
        if page.is_shown
    ]
    return sorted(shown, key=lambda page: not page.code)[:_MOST_SHOWN]


def chapter_line(manifest: Manifest, ledger: Ledger) -> ChapterLine:
    """The line of a chapter in the report."""
    coloured, kept, flagged = (manifest.count(action) for action in ("coloured", "kept", "flagged"))
    return ChapterLine(
        source=manifest.source,
        output=f"{ledger.storage.uri}/{manifest.output}" if manifest.is_published else "",
        status=manifest.status,
        pages=coloured + kept + flagged,  # a summary counts no other actions
        coloured=coloured,
        kept=kept,
        flagged=flagged,
        code=manifest.code,
        message=manifest.message or "; ".join(f"{n} {c} {m}" for n, c, m in _complaints(manifest)[:3]),
        warnings="; ".join(manifest.warnings),
        doubted=sum(page.action == "coloured" and bool(page.code) for page in manifest.pages),
        seconds=manifest.seconds,
    )
