"""Turns coloured pages into a published chapter: pack, check, put.

A chapter of one chunk is published at once. For a longer one each chunk is written to a chunk file. The last task
assembles the archive from these files, with one chunk in memory at a time.
"""

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from datasets.archive import suffix_of, write_zip
from datasets.comicinfo import COMIC_INFO
from datasets.errors import MangahueError
from datasets.limits import SLOW
from jobs.parts.colorize import comic_info, page_steps
from jobs.parts.colorize.chunk_files import ChunkFiles
from jobs.parts.colorize.hints import digest_of
from jobs.parts.colorize.outcomes import ChapterOutcomes
from jobs.parts.colorize.tasks import ChapterTask, Chunk, PageTask
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord, number_of
from jobs.parts.ledger.publication import Files
from jobs.parts.ledger.revisions import OvertakenError, overtaken
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.sandbox import sandbox

_TRIES = 10  # to publish a chapter that other runs publish too, each time with another outcome


class ChapterPublisher:
    """Puts one chapter into the output."""

    def __init__(self, task: ChapterTask, ledger: Ledger) -> None:
        self._task, self._ledger = task, ledger
        self._outcomes, self._files = ChapterOutcomes(task, ledger), ChunkFiles(task, ledger)

    def publish(self, chunk: Chunk, data: Sequence[bytes]) -> None:
        """Publish a chapter of one chunk, or write this chunk of a longer one to its chunk file.

        data: for each member of the chunk its bytes in the output.
        Sets the chunk's outcome, or marks it as ready.
        Raises MangahueError; OSError where this node has no room for an archive under way.
        """
        records = [_record(page, content) for page, content in zip(chunk.pages, data, strict=True)]
        members = [(record.output, content) for record, content in zip(records, data, strict=True)]
        manifest = self._outcomes.published(records, chunk)
        if chunk.of > 1:
            self._files.put(chunk.number, manifest, members, chunk.comment)
            chunk.ready = True
            return
        if (ended := self._outcomes.not_to_be_published(manifest)) is not None:
            chunk.outcome = ended
            return
        info = _comic_info(manifest)
        if info is not None:
            content, manifest = _with_marked_info(manifest, dict(members)[info.output])
            members = [(name, content if name == info.output else data) for name, data in members]
        chunk.outcome = self._put(manifest, lambda: members, chunk.comment)

    def assemble(self, of: int) -> Manifest:
        """Publish a chapter from its `of` chunk files, with one in memory at a time. Then delete the files.

        If another run, or an earlier try of this task, has published the chapter already, its manifest is returned.
        Raises MangahueError; OSError where this node has no room for the archive.
        """
        with telemetry.timed("assemble"):
            manifest = self._outcomes.done_already() or self._assemble(of)
        if manifest.status != "failed":
            self._files.remove(of)
        return manifest

    def _assemble(self, of: int) -> Manifest:
        parts = [self._files.manifest(number) for number in range(of)]
        manifest = replace(
            parts[0],
            status="partial" if any(part.status == "partial" for part in parts) else "done",
            pages=[page for part in parts for page in part.pages],
            policy=next((part.policy for part in parts if part.policy), ""),
            seconds=sum(part.seconds for part in parts),
            taken=sum(part.taken for part in parts),
        )
        if (ended := self._outcomes.not_to_be_published(manifest)) is not None:
            return ended
        info = _comic_info(manifest)
        marked = b""
        if info is not None:
            original = next(data for name, data in self._files.members(of) if name == info.output)
            marked, manifest = _with_marked_info(manifest, original)

        def members() -> Iterator[tuple[str, bytes]]:
            for name, data in self._files.members(of):
                yield name, marked if info and name == info.output else data

        if self._task.ref.kind == "folder" or self._task.is_rebuilt:
            return self._put(manifest, members)
        with tempfile.TemporaryDirectory(prefix="mangahue-") as folder:
            archive = Path(folder) / "chapter.cbz"
            write_zip(members(), archive, self._files.comment())
            _check(archive, manifest)
            return self._put_file(manifest, archive)

    def _put(self, manifest: Manifest, members: Files, comment: bytes = b"") -> Manifest:
        if self._task.ref.kind == "folder":
            return self._publish_over(lambda over: self._ledger.publish_folder(manifest, members, over=over))
        if self._task.ref.kind == "picture":
            ((name, data),) = members()
            (page,) = manifest.pages
            alone = replace(manifest, output=name, sha256=page.sha256, size=page.size)
            return self._publish_over(lambda over: self._ledger.publish(alone, data, over=over))
        if self._task.is_rebuilt:
            return self._put_rebuilt(manifest, members())
        archive = write_zip(members(), comment=comment)
        assert archive is not None
        _check(io.BytesIO(archive), manifest)
        sealed = replace(manifest, sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
        return self._publish_over(lambda over: self._ledger.publish(sealed, archive, over=over))

    def _publish_over(self, publish: Callable[[int], Manifest]) -> Manifest:
        """Publish, and where another run has ended the chapter otherwise meanwhile, publish over that: the source is
        still what was coloured.

        publish: takes the number of the manifest to follow.
        """
        over = self._task.over
        for _ in range(_TRIES):
            try:
                return publish(over)
            except OvertakenError:
                if (ended := self._outcomes.changed()) is not None:
                    return ended
                over = number_of(self._ledger.manifest(self._task.ref.rel))
        raise overtaken(self._task.ref.rel)

    def _put_rebuilt(self, manifest: Manifest, members: Iterable[tuple[str, bytes]]) -> Manifest:
        """Publish the source, a PDF or an EPUB, with its coloured pages replaced. These are in memory at once."""
        coloured = {page.output: page.index for page in manifest.pages if page.action == "coloured"}
        pages = {coloured[name]: data for name, data in members if name in coloured}
        with tempfile.TemporaryDirectory(prefix="mangahue-") as folder:
            made = Path(folder) / f"chapter{suffix_of(self._task.output)}"
            limits = self._task.policy.limits
            sandbox().call(page_steps.rebuild, self._task.ref, limits, pages, made, seconds=SLOW * limits.seconds)
            return self._put_file(manifest, made)

    def _put_file(self, manifest: Manifest, made: Path) -> Manifest:
        with made.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sealed = replace(manifest, sha256=digest, size=made.stat().st_size)
        return self._publish_over(lambda over: self._ledger.publish(sealed, made, over=over))


def _record(page: PageTask, data: bytes) -> PageRecord:
    return page.published or PageRecord(
        name=page.member.original,
        output=page.coloured_name if page.action == "coloured" else page.kept_name,
        index=page.member.index,
        action=page.action,
        sha256=hashlib.sha256(data).hexdigest(),
        code=page.code,
        message=page.message,
        size=len(data),
        width=page.width,
        height=page.height,
        colors=page.colors,
        hints=digest_of(page.hints) if page.action == "coloured" else "",
        preview=page.preview,
        description=page.description if page.action == "coloured" else "",
        references=page.references if page.action == "coloured" else (),
    )


def _check(archive: io.BytesIO | Path, manifest: Manifest) -> None:
    """Read the archive again before it is published: every member must be there, in order, with its bytes."""
    with zipfile.ZipFile(archive) as opened:
        if opened.namelist() != [page.output for page in manifest.pages]:
            raise MangahueError(f"{manifest.rel}: the archive made has other members than planned; this is a bug")
        for info, page in zip(opened.infolist(), manifest.pages, strict=True):
            if hashlib.sha256(opened.read(info)).hexdigest() != page.sha256:
                raise MangahueError(f"{manifest.rel}: {page.output} is damaged in the archive made; is the disk full?")


def _comic_info(manifest: Manifest) -> PageRecord | None:
    return next((page for page in manifest.pages if page.name.lower() == COMIC_INFO.lower()), None)


def _with_marked_info(manifest: Manifest, data: bytes) -> tuple[bytes, Manifest]:
    """ComicInfo.xml of the coloured book, which lists the sizes of all pages, and the manifest with its new digest."""
    pages = sorted((page for page in manifest.pages if page.index is not None), key=lambda page: page.index or 0)
    marked, warning = comic_info.marked(data, [(page.size, page.width, page.height) for page in pages])
    info = _comic_info(manifest)
    assert info is not None
    changed = replace(info, sha256=hashlib.sha256(marked).hexdigest(), size=len(marked))
    records = [changed if page is info else page for page in manifest.pages]
    return marked, replace(manifest, pages=records, warnings=[*manifest.warnings, *([warning] if warning else [])])
