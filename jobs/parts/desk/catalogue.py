"""What an output folder holds: the job that made it, its chapters, their pages, and where each came from."""

import hashlib
import threading
from dataclasses import fields
from dataclasses import replace as changed
from functools import cached_property
from typing import Any

from datasets.archive import ChapterRef, find_chapters, is_archive
from datasets.errors import BadUsageError, MangahueError
from datasets.names import composed, is_image
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.ledger.ledger import JOB, PALETTE, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.model.folder import read_card
from jobs.parts.runtime.claims import read_json
from models.card import FOLLOWING


def open_catalogue(out: str) -> "Catalogue":
    """The catalogue of an output folder. Raises BadUsageError where no colouring job has written to it."""
    ledger = Ledger(out, "")
    job = read_json(ledger.storage, JOB)
    if job is None:
        raise BadUsageError(f"--out {out} has no {JOB}: colorize.py has not published there; give its --out")
    try:
        known = {field.name for field in fields(ColorizeConfig)}
        config = ColorizeConfig(**{name: value for name, value in job["config"].items() if name in known})
    except (KeyError, TypeError, AttributeError) as error:
        raise BadUsageError(
            f"--out {out}: {JOB} does not say how it was made ({error}); run colorize.py again"
        ) from error
    return Catalogue(ledger, changed(config, out=ledger.storage.uri, replace=False), job)


def id_of(rel: str) -> str:
    """A short name of a chapter for addresses, which its own name may not suit."""
    return hashlib.sha256(rel.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Catalogue:
    """The chapters of one output folder, as of the last `refresh`. For several threads.

    config: the options of the job that made it; its `out` is this folder, as it was opened.
    job: its job.json.
    """

    def __init__(self, ledger: Ledger, config: ColorizeConfig, job: dict[str, Any]) -> None:
        self.ledger, self.config, self.job = ledger, config, job
        self._lock = threading.Lock()
        self._summaries: dict[str, Manifest] = {}
        self._whole: dict[str, Manifest] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what is new in the log, and job.json, which may have another palette now."""
        found = self.ledger.manifests(known=self._summaries.values())
        summaries = {id_of(rel): manifest for rel, manifest in found.items()}
        with self._lock:
            self.job = read_json(self.ledger.storage, JOB) or self.job
            self._summaries, self._whole = summaries, {}
            self.__dict__.pop("_refs", None)

    @property
    def chapters(self) -> dict[str, Manifest]:
        """The summary of each chapter's manifest, by `id_of`."""
        return self._summaries

    def chapter(self, chapter: str) -> Manifest:
        """The manifest of what is in the output of a chapter, with all its pages.

        chapter: its `id_of`. Raises KeyError where there is none of that name.
        """
        with self._lock:
            known = self._whole.get(chapter)
        if known is None:
            whole = self.ledger.manifest(self._summaries[chapter].rel)
            if whole is None:
                raise KeyError(chapter)
            known = whole.standing or whole
            with self._lock:
                self._whole[chapter] = known
        return known

    def page(self, chapter: str, number: int) -> PageRecord:
        """A page of a chapter by its place among the members. Raises KeyError where it is none."""
        members = self.chapter(chapter).pages
        if not 0 <= number < len(members) or members[number].index is None:
            raise KeyError(number)
        return members[number]

    def source_of(self, chapter: str) -> ChapterRef:
        """The chapter in the source, which is listed for it once.

        Raises MangahueError where it is not there any more, or where the source can't be listed.
        """
        rel = self.chapter(chapter).rel
        if rel not in self._refs:
            raise BadUsageError(f"{rel} is not in {self.config.source} any more")
        return self._refs[rel]

    def output_of(self, chapter: str) -> ChapterRef:
        """The chapter as it was published. Its version is another where it was published again."""
        manifest, out = self.chapter(chapter), self.ledger.storage
        if not manifest.output:
            raise BadUsageError(f"nothing of {manifest.rel} is published")
        kind = "folder" if not manifest.sha256 else "archive" if is_archive(manifest.output) else "picture"
        version = f"{manifest.sha256}-{manifest.number}"
        return ChapterRef(out.uri, manifest.output, manifest.output, kind, manifest.size, version)  # type: ignore[arg-type]

    def hint_name(self, manifest: Manifest, page: PageRecord) -> str:
        """How --hints names a page."""
        alone = is_image(manifest.rel) and len(manifest.pages) == 1
        return composed(manifest.rel if alone else f"{manifest.rel}/{page.name}")

    def palette(self) -> dict[str, Any] | None:
        """The palette of the output, as it is edited now; None for a job without one."""
        return None if self.config.palette == "off" else read_json(self.ledger.storage, PALETTE)

    @property
    def takes_hints(self) -> bool:
        """Whether the model of the job follows hints. Raises BadUsageError where it is not here."""
        return read_card(self.config.model)["variant"] in FOLLOWING

    @cached_property
    def takes_pages(self) -> bool:
        """Whether the model of the job is here and follows coloured pages."""
        try:
            return self.takes_hints
        except BadUsageError:
            return False

    @cached_property
    def _refs(self) -> dict[str, ChapterRef]:
        def unusable(ref: ChapterRef, error: MangahueError) -> None:
            """A chapter that can't be used was named by the job."""

        return {ref.rel: ref for ref in find_chapters(self.config.source, unusable)}
