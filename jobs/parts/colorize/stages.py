"""The CPU stages a chapter goes through, as plain functions: no Ray here, and no torch, which workers are slow to load.

All that is done with bytes from outside goes through a sandbox (source.reader, page_steps): a page that crashes its
decoder, or keeps it busy, costs that page. The functions ending in `_row` are the same stages on rows of Ray Data.
"""

import time
from collections.abc import Iterator

from datasets.chapters import Directory
from datasets.errors import ChapterUnreadableError, Code, MangahueError, PageUnreadableError
from datasets.limits import SLOW
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.member_names import output_names
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.previews import Previews
from jobs.parts.colorize.publish import bind, changed, done_already, failed, pieces_aside, quarantined
from jobs.parts.colorize.reuse import take_published, unchanged
from jobs.parts.colorize.tasks import Row, Stretch, Todo, Work, cut, from_row, to_row
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.sandbox import SandboxError, sandbox
from jobs.parts.source import reader


def open_stretches(todo: Todo, ledger: Ledger, settings: PageSettings) -> Iterator[Stretch]:
    """Cut a chapter into stretches, by its directory alone. A chapter that can't be opened is quarantined.

    Where members are had one after the other only, a later stretch would cost as much as all before it: those are read
    here, a stretch at a time.
    """
    if (ended := done_already(todo, ledger)) is not None:  # by another run at work on the same library
        yield Stretch(todo, outcome=ended)
        return
    try:
        directory = sandbox().call(reader.look_inside, todo.ref, todo.policy, seconds=_slow(todo))
        stay = unchanged(todo, ledger, directory.members)
    except MangahueError as error:
        yield Stretch(todo, outcome=_ended(todo, ledger, error))
        return
    cuts = list(cut(directory.members))
    names = output_names([member.name for member in directory.members], settings.image_format)
    aside = pieces_aside(todo, ledger) if len(cuts) > 1 else set()
    for number, part in enumerate(cuts):
        works = [
            Work(member, *names[member.place], spots=todo.spots_of(member), published=stay.get(member.place))
            for member in part
        ]
        stretch = Stretch(todo, number, len(cuts), works, ready=number in aside)
        if number == 0:
            stretch.warnings, stretch.damage = [*directory.warnings, *_unknown(todo, directory)], directory.damage
        if directory.sequential and not stretch.ready:
            _fetch_all(stretch, ledger)
        yield stretch


def _unknown(todo: Todo, directory: Directory) -> list[str]:
    """Hints for what is no page of the chapter."""
    pages = {
        name for member in directory.members if member.index is not None for name in (member.name, member.original)
    }
    return [f"--hints names {page!r}, which is no page of it" for page in todo.hints.spots if page not in pages]


def prepare(stretch: Stretch, ledger: Ledger, image_size: int, settings: PageSettings) -> Stretch:
    """Fetch and decode the members; a page to colour gets its gray square, any other passes as it is, or was."""
    begun = time.monotonic()
    if not stretch.ready:
        _fetch_all(stretch, ledger)
    if not stretch.ready and stretch.outcome is None:
        for work in stretch.works:
            if work.member.index is not None and work.action != "flagged" and work.published is None:
                _look(work, stretch.todo, image_size, settings)
    stretch.seconds += time.monotonic() - begun
    return stretch


def _fetch_all(stretch: Stretch, ledger: Ledger) -> None:
    take_published(stretch, ledger)
    for work in stretch.works:
        if work.data is not None or stretch.outcome is not None:
            continue
        try:
            _fetch(work, stretch.todo)
        except MangahueError as error:
            stretch.outcome = _ended(stretch.todo, ledger, error)


def _fetch(work: Work, todo: Todo) -> None:
    """Raises MangahueError where it is the chapter that can't be read, or storage."""
    try:
        fetched = sandbox().call(reader.fetch, todo.ref, todo.policy, work.member, seconds=_slow(todo))
    except SandboxError as error:
        work.data = b""
        work.flag(error.code, f"{error.message}; nothing of it could be read")
        return
    work.data = fetched.data
    telemetry.count_bytes("read", len(fetched.data))
    if fetched.error is not None:
        work.flag(fetched.error.code, fetched.error.message)


def _look(work: Work, todo: Todo, image_size: int, settings: PageSettings) -> None:
    limits = todo.policy.limits
    try:
        call = (page_steps.see, work.data, image_size, settings.strategy, limits.pixels)
        seen = sandbox().call(*call, seconds=limits.seconds)
    except (PageUnreadableError, SandboxError) as error:
        work.flag(error.code, error.message)
        return
    work.width, work.height, work.message = seen.width, seen.height, seen.why
    if seen.grays is not None:
        work.grays, work.places, work.shape, work.action = seen.grays, seen.places, seen.shape, "coloured"


def finish(stretch: Stretch, ledger: Ledger, settings: PageSettings) -> Stretch:
    """Join, encode, and publish the chapter, or put the stretch aside if the chapter is longer.

    The returned stretch carries no pictures: only what came of it.
    """
    if stretch.outcome is None and not stretch.ready:
        begun = time.monotonic()
        try:
            sample = stretch.todo.sample and stretch.number == 0
            kept = {work.published.preview for work in stretch.works if work.published} - {""}
            previews = Previews(ledger, stretch.todo.ref.rel, stretch.number, sample=sample, kept=kept)
            pictures = [_encode(work, stretch.todo, settings, previews) for work in stretch.works]
            stretch.seconds += time.monotonic() - begun
            bind(stretch, ledger, pictures)
        except MangahueError as error:
            stretch.outcome = _ended(stretch.todo, ledger, error)
        except OSError as error:  # no room on this node for an archive on its way
            stretch.outcome = failed(stretch.todo, ledger, error)
    stretch.works = []
    return stretch


def _encode(work: Work, todo: Todo, settings: PageSettings, previews: Previews) -> bytes:
    """What goes into the output."""
    assert work.data is not None
    if work.action != "coloured":
        return work.data
    limits = todo.policy.limits
    with_page = (work.data, work.chroma, work.safer, work.spots)
    call = (page_steps.color_over, *with_page, settings, limits.pixels, previews.of_next())
    try:
        colored = sandbox().call(*call, seconds=limits.seconds)
    except (PageUnreadableError, SandboxError) as error:
        work.flag(error.code, error.message)
        return work.data
    work.colors = colored.colors
    if faults := colored.faults:
        work.code, work.message = Code(faults[0].code.upper()), "; ".join(fault.message for fault in faults)
    if colored.preview is not None:
        work.preview = previews.put(colored.preview, told=bool(faults))
    return colored.data


def _ended(todo: Todo, ledger: Ledger, error: MangahueError) -> Manifest:
    """The outcome of a chapter that can't be coloured: quarantined for what it is, or failed for what storage did."""
    if isinstance(error, ChapterUnreadableError | SandboxError):
        return quarantined(todo, ledger, error.code, error.message)
    return changed(todo, ledger) or failed(todo, ledger, error)


def _slow(todo: Todo) -> float:
    return SLOW * todo.policy.limits.seconds


def open_row(row: Row, *, ledger: Ledger, settings: PageSettings) -> Iterator[Row]:
    stretches = open_stretches(from_row(row), ledger, settings)
    while True:
        with telemetry.timed("open"):  # not while the caller has what was yielded
            stretch = next(stretches, None)
        if stretch is None:
            return
        yield to_row(stretch)


def prepare_row(row: Row, *, ledger: Ledger, image_size: int, settings: PageSettings) -> Row:
    with telemetry.timed("prepare"):
        return to_row(prepare(from_row(row), ledger, image_size, settings))


def finish_row(row: Row, *, ledger: Ledger, settings: PageSettings) -> Row:
    with telemetry.timed("finish"):
        return to_row(finish(from_row(row), ledger, settings))
