"""From coloured pages to a published chapter: packed, checked, put; and outcomes of those that are not.

A chapter of one stretch is published at once. Of a longer one each stretch is put aside as a piece, and the last task
assembles the archive from the pieces, one in memory at a time.
"""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from datasets.archive import PDF_SUFFIX, suffix_of, write_zip
from datasets.comicinfo import COMIC_INFO, mark_colored
from datasets.errors import Code, CodedError, MangahueError, ObjectExistsError
from datasets.limits import SLOW
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.hints import digest_of
from jobs.parts.colorize.tasks import Stretch, Todo, Work
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.sandbox import sandbox

Pictures = list[tuple[str, bytes]]
_PIECE_MANIFEST = "manifest.json"  # first in a piece; a member of a chapter may have the same name


def bind(stretch: Stretch, ledger: Ledger, data: Sequence[bytes]) -> None:
    """Publish a chapter of one stretch, or put this stretch of a longer one aside. data: of each work's output."""
    todo = stretch.todo
    pairs = list(zip(stretch.works, data, strict=True))
    records = [_record(work, content) for work, content in pairs]
    pictures = [(record.output, content) for record, content in zip(records, data, strict=True)]
    manifest = _manifest(todo, ledger, records, stretch)
    if stretch.of > 1:
        _put_aside(stretch, ledger, manifest, pictures)
        stretch.ready = True
        return
    if (ended := _not_to_be_published(todo, ledger, manifest)) is not None:
        stretch.outcome = ended
        return
    info = _comic_info(manifest)
    if info is not None:
        content, manifest = _marked(manifest, dict(pictures)[info.output])
        pictures = [(name, content if name == info.output else data) for name, data in pictures]
    stretch.outcome = _publish(todo, ledger, manifest, pictures)


def _record(work: Work, data: bytes) -> PageRecord:
    return work.published or PageRecord(
        name=work.member.original,
        output=work.coloured_name if work.action == "coloured" else work.kept_name,
        index=work.member.index,
        action=work.action,
        sha256=hashlib.sha256(data).hexdigest(),
        code=work.code,
        message=work.message,
        size=len(data),
        width=work.width,
        height=work.height,
        colors=work.colors,
        hints=digest_of(work.spots) if work.action == "coloured" else "",
        preview=work.preview,
    )


def _publish(todo: Todo, ledger: Ledger, manifest: Manifest, pictures: Pictures) -> Manifest:
    if todo.ref.kind == "folder":
        _put_folder(todo, ledger, pictures)
        ledger.commit(manifest)
        return manifest
    if suffix_of(todo.output) == PDF_SUFFIX:
        return _publish_pdf(todo, ledger, manifest, pictures)
    archive = write_zip(pictures)
    assert archive is not None
    _check(io.BytesIO(archive), manifest)
    sealed = replace(manifest, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
    return ledger.publish(sealed, archive, replace=todo.replace)


def _publish_pdf(todo: Todo, ledger: Ledger, manifest: Manifest, pictures: Iterable[tuple[str, bytes]]) -> Manifest:
    """The source with its coloured pages replaced. All of these are in memory at once."""
    coloured = {page.output: page.index for page in manifest.pages if page.action == "coloured"}
    pages = {coloured[name]: data for name, data in pictures if name in coloured}
    with tempfile.TemporaryDirectory(prefix="mangahue-") as folder:
        made = Path(folder) / "chapter.pdf"
        sandbox().call(page_steps.rebind, todo.ref, pages, made, seconds=SLOW * todo.policy.limits.seconds)
        return _publish_file(todo, ledger, manifest, made)


def _publish_file(todo: Todo, ledger: Ledger, manifest: Manifest, made: Path) -> Manifest:
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    sealed = replace(manifest, sha256=digest, size=made.stat().st_size)
    return ledger.publish(sealed, made, replace=todo.replace)


def _check(archive: io.BytesIO | Path, manifest: Manifest) -> None:
    """Re-open what is about to be published: every member there, in order, with the bytes that were meant."""
    with zipfile.ZipFile(archive) as opened:
        if opened.namelist() != [page.output for page in manifest.pages]:
            raise MangahueError(f"{manifest.rel}: the archive made has other members than planned; this is a bug")
        for info, page in zip(opened.infolist(), manifest.pages, strict=True):
            if hashlib.sha256(opened.read(info)).hexdigest() != page.sha256:
                raise MangahueError(f"{manifest.rel}: {page.output} is damaged in the archive made; is the disk full?")


def _put_folder(todo: Todo, ledger: Ledger, pictures: Pictures) -> None:
    if not todo.replace:
        ledger.begin_folder(todo.output)
    for name, data in pictures:
        ledger.storage.put(f"{todo.output}/{name}", data)


# -- ComicInfo.xml, which tells the sizes of all pages


def _comic_info(manifest: Manifest) -> PageRecord | None:
    return next((page for page in manifest.pages if page.name.lower() == COMIC_INFO.lower()), None)


def _marked(manifest: Manifest, data: bytes) -> tuple[bytes, Manifest]:
    """ComicInfo.xml of the coloured book, and the manifest that holds for it."""
    pages = sorted((page for page in manifest.pages if page.index is not None), key=lambda page: page.index or 0)
    marked, warning = mark_colored(data, [(page.size, page.width, page.height) for page in pages])
    info = _comic_info(manifest)
    assert info is not None
    changed = replace(info, sha256=hashlib.sha256(marked).hexdigest(), size=len(marked))
    records = [changed if page is info else page for page in manifest.pages]
    return marked, replace(manifest, pages=records, warnings=[*manifest.warnings, *([warning] if warning else [])])


# -- outcomes


def _manifest(todo: Todo, ledger: Ledger, records: list[PageRecord], stretch: Stretch | None = None) -> Manifest:
    damage = stretch.damage if stretch else ""
    flagged = any(record.action == "flagged" for record in records)
    return Manifest(
        rel=todo.ref.rel,
        source=todo.ref.uri,
        version=todo.ref.version,
        fingerprint=ledger.fingerprint,
        status="partial" if flagged or damage else "done",
        output=todo.output,
        pages=records,
        warnings=stretch.warnings if stretch else [],
        code=Code.CUT_OFF if damage else "",
        message=damage,
        seconds=round(stretch.seconds, 3) if stretch else 0.0,
        palette=ledger.palette if records else [],
        hints=todo.hints.digest(),
        taken=sum(work.published is not None for work in stretch.works) if stretch else 0,
    )


def quarantined(todo: Todo, ledger: Ledger, code: str, message: str) -> Manifest:
    """A chapter that is not published for what it is; committed: it is tried again when it, or the policy, changes."""
    manifest = replace(_manifest(todo, ledger, []), status="quarantined", code=code, message=message)
    manifest = replace(manifest, output="", policy=todo.policy.digest())
    ledger.commit(manifest)
    return manifest


def failed(todo: Todo, ledger: Ledger, error: Exception) -> Manifest:
    """A chapter that could not be finished for want of something; not committed: the next run tries it again."""
    code, message = (error.code, error.message) if isinstance(error, CodedError) else (type(error).__name__, str(error))
    return replace(_manifest(todo, ledger, []), status="failed", output="", code=code, message=message)


def changed(todo: Todo, ledger: Ledger) -> Manifest | None:
    """The outcome of a chapter whose source is another by now, or None: what was read of it may be of both."""
    now = todo.ref.version_now()
    if now in ("", todo.ref.version):  # what is gone may come back: the chapter fails, and is tried again
        return None
    message = f"the source changed while it was read (version {todo.ref.version} to {now}); run again"
    return quarantined(todo, ledger, Code.CHANGED, message)


def _not_to_be_published(todo: Todo, ledger: Ledger, manifest: Manifest) -> Manifest | None:
    flagged = [page for page in manifest.pages if page.action == "flagged"]
    if todo.policy.strict and manifest.status == "partial":
        worst = flagged[0] if flagged else None
        code = worst.code if worst else manifest.code
        message = f"{worst.name}: {worst.message}" if worst else manifest.message
        return quarantined(todo, ledger, code, f"{message}; without --strict it is published as partial")
    return changed(todo, ledger)


# -- chapters of several stretches


def _pieces(todo: Todo, ledger: Ledger) -> str:
    told = f"-{todo.hints.digest()}" if todo.hints.spots else ""
    return f"{HOME}/pieces/{todo.ref.rel}/{ledger.short_name}{told}-{todo.ref.version[:40]}"


def pieces_aside(todo: Todo, ledger: Ledger) -> set[int]:
    """Numbers of the stretches that are finished already, by an earlier run or by another one at work now."""
    return {int(Path(entry.key).stem) for entry in ledger.storage.list(f"{_pieces(todo, ledger)}/")}


def _put_aside(stretch: Stretch, ledger: Ledger, manifest: Manifest, pictures: Pictures) -> None:
    """One object a piece, its manifest before its pictures. The first writer's stays: pieces never change."""
    packed = write_zip([(_PIECE_MANIFEST, manifest.to_json()), *pictures])
    assert packed is not None
    with suppress(ObjectExistsError):
        ledger.storage.put(f"{_pieces(stretch.todo, ledger)}/{stretch.number:06d}.zip", packed, if_absent=True)


def assemble(todo: Todo, of: int, ledger: Ledger) -> Manifest:
    """Publish a chapter from its `of` pieces, one in memory at a time; then take the pieces away.

    What another run has published already, this task's own or another job's, it returns.
    """
    keys = [f"{_pieces(todo, ledger)}/{number:06d}.zip" for number in range(of)]
    try:
        with telemetry.timed("assemble"):
            manifest = done_already(todo, ledger) or _assemble(todo, ledger, keys)
        for key in keys:
            ledger.storage.delete(key)
        return manifest
    except (MangahueError, OSError) as error:  # OSError: no room for the archive on this node
        # The run that published it takes the pieces away, under our hands.
        return done_already(todo, ledger) or failed(todo, ledger, error)


def done_already(todo: Todo, ledger: Ledger) -> Manifest | None:
    """The manifest of a chapter that was done since this job was planned."""
    try:
        published = ledger.manifest(todo.ref.rel)
    except MangahueError:
        return None
    return published if ledger.covers(published, todo.ref, todo.policy.digest(), todo.hints.digest()) else None


def _assemble(todo: Todo, ledger: Ledger, keys: list[str]) -> Manifest:
    parts = [_manifest_of_piece(ledger, key) for key in keys]
    manifest = replace(
        parts[0],
        status="partial" if any(part.status == "partial" for part in parts) else "done",
        pages=[page for part in parts for page in part.pages],
        seconds=sum(part.seconds for part in parts),
        taken=sum(part.taken for part in parts),
    )
    return _not_to_be_published(todo, ledger, manifest) or _assembled(todo, ledger, manifest, keys)


def _manifest_of_piece(ledger: Ledger, key: str) -> Manifest:
    with ledger.storage.open(key) as file, zipfile.ZipFile(file) as piece:
        return Manifest.from_json(piece.read(piece.infolist()[0]))


def _assembled(todo: Todo, ledger: Ledger, manifest: Manifest, keys: list[str]) -> Manifest:
    info = _comic_info(manifest)
    marked = b""
    if info is not None:
        original = next(data for name, data in _members(ledger, keys) if name == info.output)
        marked, manifest = _marked(manifest, original)
    members = ((name, marked if info and name == info.output else data) for name, data in _members(ledger, keys))
    if todo.ref.kind == "folder":
        for member in members:
            _put_folder(todo, ledger, [member])
        ledger.commit(manifest)
        return manifest
    if suffix_of(todo.output) == PDF_SUFFIX:
        return _publish_pdf(todo, ledger, manifest, members)
    with tempfile.TemporaryDirectory(prefix="mangahue-") as folder:
        archive = Path(folder) / "chapter.cbz"
        write_zip(members, archive)
        _check(archive, manifest)
        return _publish_file(todo, ledger, manifest, archive)


def _members(ledger: Ledger, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    for key in keys:
        with ledger.storage.open(key) as file, zipfile.ZipFile(file) as piece:
            for info in piece.infolist()[1:]:
                yield info.filename, piece.read(info)
