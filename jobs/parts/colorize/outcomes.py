"""How a chapter may end: published, quarantined because of what it is, or failed because something was missing."""

import logging
import platform
from dataclasses import dataclass, replace

from datasets.errors import ChapterUnreadableError, Code, CodedError, MangahueError
from jobs.parts.colorize.decide import Decision, decide, hangs_on_policy
from jobs.parts.colorize.tasks import ChapterTask, Chunk
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord, number_of
from jobs.parts.ledger.revisions import OvertakenError, overtaken
from jobs.parts.runtime.sandbox import SandboxError

log = logging.getLogger("mangahue")


@dataclass(frozen=True)
class ChapterOutcomes:
    """Makes the manifests of one chapter, one method for each way it may end."""

    task: ChapterTask
    ledger: Ledger

    def published(self, records: list[PageRecord], chunk: Chunk) -> Manifest:
        """The manifest of a chapter, or of one chunk, that is to be published with these pages. It is not committed."""
        flagged = any(record.action == "flagged" for record in records)
        return replace(
            self._unpublished("partial" if flagged or chunk.damage else "done"),
            output=self.task.output,
            pages=records,
            warnings=chunk.warnings,
            code=Code.CUT_OFF if chunk.damage else "",
            message=chunk.damage,
            seconds=round(chunk.seconds, 3),
            policy=self.task.policy.page_digest() if any(map(hangs_on_policy, records)) else "",
            palette=self.ledger.palette if records else [],
            taken=sum(page.published is not None for page in chunk.pages),
        )

    def quarantined(self, code: str, message: str) -> Manifest:
        """The manifest of a chapter that can't be published as it is. It is committed.

        The chapter is tried again when its source or the policy changes. What was published of it before stays in the
        output, and the manifest says so. Where another run has ended the chapter since it was planned, its outcome
        stays. Where the log can't be read or written, the chapter has failed instead, and the next run tries it again.
        """
        try:
            known = self.ledger.manifest(self.task.ref.rel)
            if number_of(known) != self.task.over:
                raise overtaken(self.task.ref.rel)
            before = known.left if known is not None else None
            manifest = replace(
                self._unpublished("quarantined", code, message),
                policy=self.task.policy.digest(),
                before=before,
                warnings=[] if before is None else [f"{before.output} is still there, of the source's version before"],
            )
            return self.ledger.commit(manifest, self.task.over)
        except OvertakenError as error:
            return self.done_already() or self.failed(error)
        except MangahueError as error:
            stays = f"{message}; to be quarantined, but its manifest could not be stored ({error}): run again"
            return self._unpublished("failed", code, stays)

    def failed(self, error: Exception) -> Manifest:
        """The manifest of a chapter that was not finished. It is not committed: the next run tries it again."""
        code, message = type(error).__name__, str(error)
        if isinstance(error, CodedError):
            code, message = error.code, error.message
        elif isinstance(error, OSError):  # not of storage, whose errors are ours: this node's own disk, or a process
            message = f"{error}, on {platform.node()}; see that this node has room and memory, and run again"
        elif not isinstance(error, MangahueError):
            message = f"{error}; this is not expected: run again, and if it stays, report it with the log's traceback"
        return self._unpublished("failed", code, message)

    def changed(self) -> Manifest | None:
        """The outcome if the source has changed meanwhile, else None. What was read may mix both versions.

        It is not committed: a manifest of the version that was listed would hide the chapter from the next run, or
        overwrite that of a faster run.
        """
        ref = self.task.ref
        now = ref.version_now()
        if now in ("", ref.version):  # what is gone may come back: the chapter fails, and is tried again
            return None
        message = f"the source changed while it was read (version {ref.version} to {now}); run again"
        return self.failed(CodedError(Code.CHANGED, message))

    def ended_by(self, error: Exception) -> Manifest:
        """The outcome after an error: quarantined where the chapter is at fault, failed for any other reason.

        If another run has published the chapter meanwhile, and deleted its chunk files, that is the outcome. It raises
        nothing. An error that is neither ours nor the system's is logged with its traceback.
        """
        if not isinstance(error, MangahueError | OSError):
            log.error("%s: %r", self.task.ref.rel, error, exc_info=error, extra={"chapter": self.task.ref.rel})
        try:
            if isinstance(error, ChapterUnreadableError | SandboxError):
                return self.quarantined(error.code, error.message)
            return self.done_already() or self.changed() or self.failed(error)
        except Exception as another:  # most often the same: storage that does not answer this question either
            log.warning("%s: %r, after %r", self.task.ref.rel, another, error, extra={"chapter": self.task.ref.rel})
            return self.failed(error)

    def not_to_be_published(self, manifest: Manifest) -> Manifest | None:
        """The outcome if --strict forbids this manifest, or if the source changed. None if it may be published."""
        flagged = [page for page in manifest.pages if page.action == "flagged"]
        if self.task.policy.strict and manifest.status == "partial":
            worst = flagged[0] if flagged else None
            code = worst.code if worst else manifest.code
            message = f"{worst.name}: {worst.message}" if worst else manifest.message
            return self.quarantined(code, f"{message}; without --strict it is published as partial")
        return self.changed()

    def done_already(self) -> Manifest | None:
        """The manifest of a chapter that another run has done since this job was planned; None where none has."""
        task = self.task
        try:
            published = self.ledger.manifest(task.ref.rel)
        except MangahueError:
            return None
        decision = decide(task.ref, published, self.ledger, task.policy, task.hints.digest(), task.marks)
        return published if decision is Decision.DONE else None

    def _unpublished(self, status: str, code: str = "", message: str = "") -> Manifest:
        task = self.task
        return self.ledger.unpublished(task.ref, status, code=code, message=message, hints=task.hints.digest())
