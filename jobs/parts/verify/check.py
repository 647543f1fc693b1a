"""The parts of jobs/verify.py: compares an output folder with what its manifests say."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from datasets.errors import BadUsageError, Code, ObjectNotFoundError, StorageError
from jobs.parts.ledger.ledger import HOME, JOB, REPORT, SUCCESS, Ledger
from jobs.parts.ledger.manifest import Manifest, number_of
from jobs.parts.ledger.revisions import OvertakenError
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.outcome import Exit, as_json, utc_now
from jobs.parts.runtime.progress import Meter

log = logging.getLogger("mangahue")
_VERIFIED = f"{HOME}/verified.json"
_TASK_CHAPTERS = 16  # chapters that one task reads


@dataclass(frozen=True)
class Finding:
    """A chapter that is not what was published, or a file of the log.

    rel: the chapter's name, or the file's key.
    """

    rel: str
    code: Code
    message: str


@dataclass(frozen=True)
class Published:
    """An output folder.

    ledger: its commit log.
    manifests: the summary of each manifest, by chapter.
    reported: what the last report says was published: the output key of each chapter.
    """

    ledger: Ledger
    manifests: dict[str, Manifest]
    reported: dict[str, str]

    @property
    def standing(self) -> list[Manifest]:
        """Manifests of what should be there, that of an earlier version of a quarantined chapter included."""
        return [manifest.standing for manifest in self.manifests.values() if manifest.standing is not None]


def open_published(out: str) -> Published:
    """Read the log. What a killed run has published but not committed is committed first.

    Raises BadUsageError where no colouring job has written to `out`, and StorageError where a manifest can't be read.
    """
    ledger = Ledger(out, "")
    if ledger.storage.stat(JOB) is None:
        raise BadUsageError(f"--out {out} has no {JOB}: colorize.py has not published there; give its --out")
    report = read_json(ledger.storage, REPORT) or {"lines": []}
    reported = {line["rel"]: line["published"] for line in report["lines"] if line.get("published")}
    manifests = ledger.manifests(reported)
    for manifest in manifests.values():
        if manifest.status == "failed":
            raise StorageError(f"{manifest.rel}: {manifest.message}; nothing was verified: run again")
    return Published(ledger, manifests | ledger.recover(), reported)


def check_all(published: Published, runner: Literal["local", "ray"]) -> list[Finding]:
    """Check the log, and read every chapter that should be there again, on all cores. Returns what is wrong."""
    findings = list(_check_log(published))
    digests = {manifest.sha256: manifest.rel for manifest in published.standing if manifest.sha256}
    with Meter("verify", len(published.standing)) as meter:
        for row in _read_again(published, runner):
            meter.advance(1, row["pages"])
            if row["code"] and (other := digests.get(row["sha256"])):
                row |= {"code": Code.SWAPPED, "message": f"{row['message']}; it is that of {other}"}
            if row["code"]:
                findings.append(Finding(row["rel"], Code(row["code"]), row["message"]))
    for key in _strays(published):
        log.warning("%s belongs to no chapter: it was left alone", key)
    return sorted(findings, key=lambda finding: finding.rel)


def _check_log(published: Published) -> Iterator[Finding]:
    if not read_json(published.ledger.storage, JOB):
        yield Finding(JOB, Code.MANIFEST, f"{JOB} is no JSON any more")
    for rel, output in published.reported.items():
        if rel not in published.manifests:
            yield Finding(rel, Code.MANIFEST, f"{output} was published, and its manifest is gone")
    for manifest in published.manifests.values():
        if manifest.status == "damaged":
            yield Finding(manifest.rel, Code(manifest.code), manifest.message)


def _read_again(published: Published, runner: Literal["local", "ray"]) -> Iterator[dict[str, Any]]:
    rels = [{"rel": manifest.rel} for manifest in published.standing]
    if runner == "local":
        with LocalPool() as pool:
            yield from pool.run(partial(check_row, ledger=published.ledger), rels)
    elif rels:
        yield from _read_on_ray(published, rels)


def _read_on_ray(published: Published, rels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    import ray.data

    from jobs.parts.runtime.cluster import connect

    cluster = connect()
    tasks = min(len(rels), max(8, len(rels) // _TASK_CHAPTERS))
    rows = ray.data.from_items(rels, override_num_blocks=tasks)
    options = {"fn_kwargs": {"ledger": published.ledger}, "num_cpus": cluster.cpu_share()}
    yield from rows.map(check_row, **options).iter_rows()


def check_row(row: dict[str, Any], *, ledger: Ledger) -> dict[str, Any]:
    """Read a chapter again.

    Adds to the row: code and message ("" where the chapter is whole), its archive's sha256, and the number of
    pages that it has.
    """
    manifest = ledger.manifest(row["rel"])
    if manifest is None or manifest.code == Code.MANIFEST:
        message = "its manifest went, or was damaged, while it was verified"
        return {**row, "code": Code.MANIFEST, "message": message, "sha256": "", "pages": 0}
    manifest = manifest.standing or manifest
    if manifest.sha256:
        wanted = [(manifest.output, manifest.size, manifest.sha256)]
    else:
        wanted = [(f"{manifest.output}/{page.output}", page.size, page.sha256) for page in manifest.pages]
    code, message, digest = "", "", ""
    for key, size, sha256 in wanted:
        code, message, digest = _compare(ledger, key, size, sha256)
        if code:
            break
    pages = sum(page.index is not None for page in manifest.pages)
    return {**row, "code": code, "message": message, "sha256": digest, "pages": pages}


def _compare(ledger: Ledger, key: str, size: int, sha256: str) -> tuple[str, str, str]:
    entry = ledger.storage.stat(key)
    if entry is None:
        return Code.GONE, f"{key} is not there any more", ""
    try:
        digest = ledger.output.sha256(key)
    except ObjectNotFoundError:
        return Code.GONE, f"{key} is not there any more", ""
    if entry.size != size:
        return Code.SIZE, f"{key} has {entry.size} bytes; {size} were published", digest
    if digest != sha256:
        return Code.ALTERED, f"{key} has other bytes than were published", digest
    return "", "", digest


def _strays(published: Published) -> Iterator[str]:
    """Objects in the folder that neither a chapter nor the log has put there."""
    standing = {manifest.output for manifest in published.standing}
    outputs = (
        {manifest.output for manifest in published.manifests.values()} | set(published.reported.values()) | standing
    )
    folders = tuple(f"{manifest.output}/" for manifest in published.standing if not manifest.sha256)
    for entry in published.ledger.storage.list():
        ours = entry.key in outputs or entry.key == SUCCESS or entry.key.startswith((f"{HOME}/", *folders))
        if not ours:
            yield entry.key


def mark(published: Published, findings: Iterable[Finding]) -> None:
    """Write the findings into the log, and delete `_SUCCESS` if there are any. The next colouring job does the damaged
    chapters again.
    """
    ledger = published.ledger
    for finding in findings:
        ledger.storage.delete(SUCCESS)
        known = published.manifests.get(finding.rel)
        if finding.rel == JOB or (known is not None and known.status == "damaged"):
            continue
        whole = ledger.manifest(finding.rel)  # with all its pages, which a summary leaves out
        number = number_of(whole)
        if known is not None and number > known.number:
            continue  # a job has coloured it since it was read
        if whole is None:
            whole = known or Manifest(finding.rel, "", "", "", "damaged", output=published.reported[finding.rel])
        damaged = whole.standing or whole
        with suppress(OvertakenError):
            ledger.commit(replace(damaged, status="damaged", code=finding.code, message=finding.message), number)


def report_findings(published: Published, findings: list[Finding]) -> Exit:
    """Log the findings and write `_mangahue/verified.json`.

    Returns DONE without findings, PARTLY where some chapters are whole, FAILED where none is.
    """
    for finding in findings:
        log.error("%s: %s %s", finding.rel, finding.code, finding.message)
    count = len({*published.manifests, *published.reported})
    log.info("%d chapters verified, %d findings in %s", count, len(findings), published.ledger.storage.uri)
    if findings:
        log.info("run colorize.py with the same options: it does again what is damaged, and nothing else")
    record = {
        "finished": utc_now(),
        "chapters": count,
        "findings": [asdict(finding) for finding in findings],
    }
    published.ledger.storage.put(_VERIFIED, as_json(record))
    if not findings:
        return Exit.DONE
    damaged = {finding.rel for finding in findings}
    return Exit.PARTLY if any(manifest.rel not in damaged for manifest in published.standing) else Exit.FAILED
