"""The CPU stages a chapter goes through, as plain functions: no Ray here, and no torch, which workers are slow to load.

A stretch is some neighbouring members of one chapter. S: side of the square the network sees. The functions ending in
`_row` are the same stages on rows of Ray Data: a stretch travels pickled, in one column.
"""

import hashlib
import io
import itertools
import pickle
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from datasets.archive import Chapter, ChapterRef, Member, open_chapter, write_zip
from datasets.comicinfo import COMIC_INFO, mark_colored
from datasets.errors import ChapterUnreadableError, MangahueError, PageUnreadableError
from datasets.page import SUFFIX_OF, ImageFormat, decode, encode, gray_of
from imaging.color import U8, is_color_page, join_chroma
from jobs.parts.ledger import HOME, Ledger, Manifest, PageRecord, as_text

STRETCH_MEMBERS = 32
STRETCH_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Todo:
    """A chapter to colour. replace: it overwrites what an older source or other weights left at its place."""

    ref: ChapterRef
    replace: bool


@dataclass
class Work:
    """A member on its way. data: its bytes as they came. gray: (S, S) levels, chroma: (S, S, 2) ab of a page to colour.

    action, code, message: as in ledger.PageRecord. kept_name, coloured_name: of the two one is its name in the output.
    """

    member: Member
    kept_name: str
    coloured_name: str
    data: bytes = b""
    gray: U8 | None = None
    chroma: np.ndarray | None = None
    action: str = "kept"
    code: str = ""
    message: str = ""


@dataclass
class Stretch:
    """A row of the pipeline. number: 0-based, of `of`. outcome: set once there is nothing left to compute for it."""

    todo: Todo
    number: int = 0
    of: int = 1
    works: list[Work] = field(default_factory=list)
    outcome: Manifest | None = None
    ready: bool = False  # put aside, by this run or an earlier one
    seconds: float = 0.0


def open_stretches(todo: Todo, ledger: Ledger, image_format: ImageFormat) -> Iterator[Stretch]:
    """Cut a chapter into stretches, by its directory alone. A chapter that can't be opened is quarantined."""
    try:
        members = open_chapter(todo.ref).members
    except ChapterUnreadableError as error:
        yield Stretch(todo, outcome=_quarantined(todo, ledger, error))
        return
    except MangahueError as error:
        yield Stretch(todo, outcome=_failed(todo, ledger, error))
        return
    cuts = list(_cut(members))
    names = output_names([member.name for member in members], image_format)
    aside = _aside(todo, ledger) if len(cuts) > 1 else set()
    for number, part in enumerate(cuts):
        works = [Work(member, *names[member.place]) for member in part]
        yield Stretch(todo, number, len(cuts), works, ready=number in aside)


def output_names(names: Sequence[str], image_format: ImageFormat) -> list[tuple[str, str]]:
    """For each member its name in the output if it is kept and if it is coloured; no two are equal, nor differ by case.

    A coloured page takes the extension of its new format; where that name is taken, it keeps the old one before it.
    """
    taken: set[str] = set()
    kept = [_free(name, taken) for name in names]
    return [(name, _free(_with_suffix(name, SUFFIX_OF[image_format]), taken, instead_of=name)) for name in kept]


def _with_suffix(name: str, wanted: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name if (suffix.lower(), wanted) == (".jpeg", ".jpg") else name.removesuffix(suffix) + wanted


def _free(name: str, taken: set[str], instead_of: str | None = None) -> str:
    """`name`, or one made of it that is not taken, which is then taken."""
    if instead_of is not None and name.lower() == instead_of.lower():
        return instead_of
    path = PurePosixPath(name)
    candidates = itertools.chain(
        [name],
        [instead_of + path.suffix] if instead_of else [],
        (str(path.with_name(f"{path.stem} ({count}){path.suffix}")) for count in itertools.count(2)),
    )
    free = next(candidate for candidate in candidates if candidate.lower() not in taken)
    taken.add(free.lower())
    return free


def _cut(members: Iterable[Member]) -> Iterator[list[Member]]:
    part: list[Member] = []
    size = 0
    for member in members:
        if part and (len(part) >= STRETCH_MEMBERS or size + member.size > STRETCH_BYTES):
            yield part
            part, size = [], 0
        part.append(member)
        size += member.size
    yield part


def prepare(stretch: Stretch, ledger: Ledger, image_size: int) -> Stretch:
    """Fetch and decode the members; a page to colour gets its gray square, any other passes as it is."""
    if stretch.outcome or stretch.ready:
        return stretch
    begun = time.monotonic()
    try:
        chapter = open_chapter(stretch.todo.ref)
        for work in stretch.works:
            _prepare_member(work, chapter, image_size)
    except ChapterUnreadableError as error:
        stretch.outcome = _quarantined(stretch.todo, ledger, error)
    except MangahueError as error:
        stretch.outcome = _failed(stretch.todo, ledger, error)
    stretch.seconds += time.monotonic() - begun
    return stretch


def _prepare_member(work: Work, chapter: Chapter, image_size: int) -> None:
    try:
        work.data = chapter.read(work.member)
    except PageUnreadableError as error:
        work.data = chapter.salvage(work.member)
        work.action, work.code, work.message = "flagged", error.code, error.message
        return
    if work.member.index is None:
        return
    try:
        page = decode(work.data)
    except PageUnreadableError as error:
        work.action, work.code, work.message = "flagged", error.code, error.message
        return
    if not is_color_page(page):
        work.action = "coloured"
        work.gray = cv2.resize(gray_of(page), (image_size, image_size), interpolation=cv2.INTER_AREA)


def finish(stretch: Stretch, ledger: Ledger, image_format: ImageFormat) -> Stretch:
    """Join, encode, and publish the chapter, or put the stretch aside if the chapter is longer.

    The returned stretch carries no pictures: only what came of it.
    """
    if stretch.outcome is None and not stretch.ready:
        begun = time.monotonic()
        try:
            records, pictures = _encode_all(stretch, image_format)
            seconds = stretch.seconds + time.monotonic() - begun
            manifest = _manifest(stretch.todo, ledger, records, seconds)
            if stretch.of == 1:
                stretch.outcome = _publish(stretch.todo, ledger, manifest, pictures)
            else:
                _put_aside(stretch, ledger, manifest, pictures)
                stretch.ready = True
        except MangahueError as error:
            stretch.outcome = _failed(stretch.todo, ledger, error)
    stretch.works = []
    return stretch


def _encode_all(stretch: Stretch, image_format: ImageFormat) -> tuple[list[PageRecord], list[tuple[str, bytes]]]:
    records, pictures = [], []
    for work in stretch.works:
        name, data = work.kept_name, work.data
        if work.action == "coloured":
            assert work.chroma is not None
            page = join_chroma(gray_of(decode(work.data)), work.chroma.astype(np.float32))
            name, data = work.coloured_name, encode(page, image_format)
        elif work.member.name == COMIC_INFO:
            data = mark_colored(data)
        digest = hashlib.sha256(data).hexdigest()
        record = PageRecord(work.member.name, name, work.member.index, work.action, digest, work.code, work.message)
        records.append(record)
        pictures.append((name, data))
    return records, pictures


def _publish(todo: Todo, ledger: Ledger, manifest: Manifest, pictures: list[tuple[str, bytes]]) -> Manifest:
    if todo.ref.kind == "folder":
        _put_folder(todo, ledger, pictures)
        ledger.commit(manifest)
        return manifest
    archive = write_zip(pictures)
    assert archive is not None
    _check(io.BytesIO(archive), manifest)
    sealed = replace(manifest, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
    return ledger.publish(sealed, archive, replace=todo.replace)


def _check(archive: io.BytesIO | Path, manifest: Manifest) -> None:
    """Re-open what is about to be published: every member there, in order, with the bytes that were meant."""
    with zipfile.ZipFile(archive) as opened:
        if opened.namelist() != [page.output for page in manifest.pages]:
            raise MangahueError(f"{manifest.rel}: the archive made has other members than planned; this is a bug")
        for info, page in zip(opened.infolist(), manifest.pages, strict=True):
            if hashlib.sha256(opened.read(info)).hexdigest() != page.sha256:
                raise MangahueError(f"{manifest.rel}: {page.output} is damaged in the archive made; is the disk full?")


def _put_folder(todo: Todo, ledger: Ledger, pictures: list[tuple[str, bytes]]) -> None:
    if not todo.replace:
        ledger.begin_folder(todo.ref.rel)
    for name, data in pictures:
        ledger.storage.put(f"{todo.ref.rel}/{name}", data)


def _manifest(todo: Todo, ledger: Ledger, records: list[PageRecord], seconds: float) -> Manifest:
    status = "partial" if any(record.action == "flagged" for record in records) else "done"
    return Manifest(
        rel=todo.ref.rel,
        source=todo.ref.uri,
        version=todo.ref.version,
        fingerprint=ledger.fingerprint,
        status=status,
        pages=records,
        seconds=round(seconds, 3),
    )


def _quarantined(todo: Todo, ledger: Ledger, error: ChapterUnreadableError) -> Manifest:
    manifest = _manifest(todo, ledger, [], 0.0)
    manifest = replace(manifest, status="quarantined", code=error.code, message=error.message)
    ledger.commit(manifest)
    return manifest


def _failed(todo: Todo, ledger: Ledger, error: Exception) -> Manifest:
    manifest = _manifest(todo, ledger, [], 0.0)
    return replace(manifest, status="failed", code=type(error).__name__, message=str(error))


# -- the same on rows of Ray Data

Row = dict[str, Any]


def to_row(item: "Stretch | Todo") -> Row:
    """Pack an item into a row."""
    return {"stretch": pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)}


def from_row(row: Row) -> Any:
    """Unpack `to_row`."""
    return pickle.loads(row["stretch"])


def open_row(row: Row, *, ledger: Ledger, image_format: ImageFormat) -> Iterator[Row]:
    yield from map(to_row, open_stretches(from_row(row), ledger, image_format))


def prepare_row(row: Row, *, ledger: Ledger, image_size: int) -> Row:
    return to_row(prepare(from_row(row), ledger, image_size))


def finish_row(row: Row, *, ledger: Ledger, image_format: ImageFormat) -> Row:
    return to_row(finish(from_row(row), ledger, image_format))


# -- chapters of several stretches


def _pieces(todo: Todo, ledger: Ledger) -> str:
    return f"{HOME}/pieces/{todo.ref.rel}/{ledger.fingerprint[:16]}-{todo.ref.version[:40]}"


def _aside(todo: Todo, ledger: Ledger) -> set[int]:
    """Numbers of the stretches that an earlier run has finished."""
    entries = ledger.storage.list(f"{_pieces(todo, ledger)}/")
    return {int(Path(entry.key).stem) for entry in entries if entry.key.endswith(".json")}


def _put_aside(stretch: Stretch, ledger: Ledger, manifest: Manifest, pictures: list[tuple[str, bytes]]) -> None:
    """Pictures first, the piece's own manifest after them: with it the piece is whole."""
    home = _pieces(stretch.todo, ledger)
    if stretch.todo.ref.kind == "folder":
        _put_folder(stretch.todo, ledger, pictures)
    else:
        packed = write_zip(pictures)
        assert packed is not None
        ledger.storage.put(f"{home}/{stretch.number:06d}.zip", packed)
    ledger.storage.put(f"{home}/{stretch.number:06d}.json", as_text(manifest).encode())


def assemble(todo: Todo, of: int, ledger: Ledger) -> Manifest:
    """Publish a chapter from its `of` pieces, one in memory at a time; then take the pieces away.

    What another run of this task has published already, it returns.
    """
    home = _pieces(todo, ledger)
    try:
        published = ledger.manifest(todo.ref.rel)
        if published is not None and ledger.covers(published, todo.ref):
            return published
        keys = [f"{home}/{number:06d}" for number in range(of)]
        parts = [Manifest.from_json(ledger.storage.read(f"{key}.json")) for key in keys]
        records = [page for part in parts for page in part.pages]
        manifest = _manifest(todo, ledger, records, sum(part.seconds for part in parts))
        if todo.ref.kind == "folder":
            ledger.commit(manifest)
        else:
            with tempfile.TemporaryDirectory(prefix="mangahue-") as folder:
                archive = Path(folder) / "chapter.cbz"
                write_zip(_members(ledger, keys), archive)
                _check(archive, manifest)
                with archive.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                sealed = replace(manifest, sha256=digest, size=archive.stat().st_size)
                manifest = ledger.publish(sealed, archive, replace=todo.replace)
        for key in keys:
            ledger.storage.delete(f"{key}.json")
            ledger.storage.delete(f"{key}.zip")
        return manifest
    except MangahueError as error:
        return _failed(todo, ledger, error)


def _members(ledger: Ledger, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    for key in keys:
        with ledger.storage.open(f"{key}.zip") as file, zipfile.ZipFile(file) as piece:
            for name in piece.namelist():
                yield name, piece.read(name)
