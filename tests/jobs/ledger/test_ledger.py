"""The commit log of a colouring job, on disk and on a real S3 server."""

import hashlib
import json
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.archive import ChapterRef, write_zip
from datasets.errors import BadUsageError, ObjectExistsError
from datasets.storage import open_storage
from datasets.storage_s3 import S3Storage
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.ledger.marks import as_text
from jobs.parts.ledger.revisions import Revisions

FINGERPRINT, OTHER = "a1" * 32, "b2" * 32
JOB = {"weights_sha256": "c3" * 32, "settings": {"format": "jpeg", "lines": "sides"}, "config": {}}
PAGES = [
    PageRecord("1.png", "1.jpg", 0, "coloured", "00"),
    PageRecord("ComicInfo.xml", "ComicInfo.xml", None, "kept", "11"),
]
REL = "volume 1/ep1.cbz"
CHAPTERS, STAGED = f"{HOME}/chapters/", f"{HOME}/staged/"


class Killed(BaseException):
    """Stands for a kill inside one process."""


@pytest.fixture(params=["local", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty output folder on each kind of storage."""
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")
    return f"{root}/out"


def archive(text: str) -> bytes:
    data = write_zip([("1.jpg", text.encode())])
    assert data is not None
    return data


def manifest_of(data: bytes, *, rel: str = REL, fingerprint: str = FINGERPRINT, seconds: float = 1.0) -> Manifest:
    digest = hashlib.sha256(data).hexdigest()
    return Manifest(
        rel, f"/in/{rel}", "v1", fingerprint, "done", rel, PAGES, sha256=digest, size=len(data), seconds=seconds
    )


def keys(out: str, prefix: str = "") -> list[str]:
    return sorted(entry.key for entry in open_storage(out).list(prefix))


def kill_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die just before this step of the log."""

    def die(*args: Any, **kwargs: Any) -> None:
        raise Killed

    monkeypatch.setattr(Revisions, step, die)


def publish_and_die(out: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that puts an archive, and dies before it commits the manifest."""
    with monkeypatch.context() as patch:
        kill_at("commit", patch)
        with pytest.raises(Killed):
            Ledger(out, FINGERPRINT).publish(manifest_of(data), data, over=0)


def test_claim_is_for_one_fingerprint(out: str) -> None:
    Ledger(out, FINGERPRINT).claim(JOB, replace=False)
    Ledger(out, FINGERPRINT).claim(JOB, replace=False)
    before = open_storage(out).read(f"{HOME}/job.json")
    other = {**JOB, "weights_sha256": "d4" * 32, "settings": {"format": "png", "lines": "sides"}}
    with pytest.raises(BadUsageError) as caught:
        Ledger(out, OTHER).claim(other, replace=False)
    for part in ("--out", FINGERPRINT[:16], OTHER[:16], "c3" * 6, "d4" * 6, "format png instead of jpeg", "--replace"):
        assert part in str(caught.value)
    assert "sides" not in str(caught.value)  # which both have
    assert open_storage(out).read(f"{HOME}/job.json") == before

    Ledger(out, OTHER).claim(other, replace=True)
    Ledger(out, OTHER).claim(other, replace=False)
    with pytest.raises(BadUsageError):
        Ledger(out, FINGERPRINT).claim(JOB, replace=False)


def test_of_many_claims_one_wins(out: str) -> None:
    barrier = threading.Barrier(4)

    def claim(number: int) -> bool:
        ledger = Ledger(out, f"{number}" * 64)
        barrier.wait()
        try:
            ledger.claim(JOB, replace=False)
        except BadUsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(claim, range(4))) == 1


def test_publish(out: str) -> None:
    ledger = pickle.loads(pickle.dumps(Ledger(out, FINGERPRINT)))
    data = archive("one")
    mine = manifest_of(data)
    assert ledger.publish(mine, data, over=0) == mine
    assert ledger.manifests() == {REL: mine.summary()}
    assert keys(out) == [f"{CHAPTERS}{REL}.json", REL]
    assert open_storage(out).read(REL) == data
    if out.startswith("s3"):
        metadata = {"sha256": mine.sha256, "fingerprint": FINGERPRINT, "source-version": "v1"}
        assert open_storage(out).metadata(REL) == metadata


def test_publish_from_a_file(out: str, tmp_path: Path) -> None:
    data = archive("long")
    (tmp_path / "chapter.cbz").write_bytes(data)
    Ledger(out, FINGERPRINT).publish(manifest_of(data), tmp_path / "chapter.cbz", over=0)
    assert open_storage(out).read(REL) == data


def test_manifest_travels_as_text() -> None:
    mine = replace(manifest_of(b"x"), pages=[replace(PAGES[0], action="flagged", code="READ", message="カラー")])
    assert Manifest.from_json(mine.to_json()) == mine
    assert (mine.count("flagged"), mine.count("coloured")) == (1, 0)
    assert manifest_of(b"x").count("kept") == 0  # ComicInfo.xml is no page


def test_first_writer_wins(out: str) -> None:
    Ledger(out, FINGERPRINT).claim(JOB, replace=False)
    for round_number in range(3):
        rel = f"ep{round_number}.cbz"
        barrier = threading.Barrier(2)

        def publish(text: str, rel: str = rel, barrier: threading.Barrier = barrier) -> tuple[bytes, Manifest]:
            ledger, data = Ledger(out, FINGERPRINT), archive(text)
            barrier.wait()
            return data, ledger.publish(manifest_of(data, rel=rel), data, over=0)

        with ThreadPoolExecutor(2) as threads:
            (one, held_by_one), (two, held_by_two) = threads.map(publish, ["one", "two"])
        there = open_storage(out).read(rel)
        assert there in (one, two)
        assert held_by_one == held_by_two == manifest_of(there, rel=rel)
        assert Ledger(out, FINGERPRINT).manifests()[rel] == held_by_one.summary()
    assert keys(out, STAGED) == []


def test_loser_gets_the_winners_manifest(out: str) -> None:
    first, second = archive("first"), archive("second")
    winner = Ledger(out, FINGERPRINT).publish(manifest_of(first), first, over=0)
    assert Ledger(out, FINGERPRINT).publish(manifest_of(second), second, over=0) == winner
    assert open_storage(out).read(REL) == first
    assert keys(out, STAGED) == []


def test_loser_commits_for_a_winner_that_died(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = archive("first"), archive("second")
    publish_and_die(out, first, monkeypatch)
    got = Ledger(out, FINGERPRINT).publish(manifest_of(second), second, over=0)
    assert got == manifest_of(first)
    assert Ledger(out, FINGERPRINT).manifests() == {REL: manifest_of(first).summary()}
    assert open_storage(out).read(REL) == first


def test_retry_after_a_kill_with_the_very_same_bytes(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive("same")
    publish_and_die(out, data, monkeypatch)
    got = Ledger(out, FINGERPRINT).publish(manifest_of(data, seconds=2.0), data, over=0)
    assert got.sha256 == manifest_of(data).sha256
    assert Ledger(out, FINGERPRINT).manifests()[REL] == got.summary()


def test_winner_that_finishes_while_the_loser_looks(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = archive("first"), archive("second")
    winner, loser = Ledger(out, FINGERPRINT), Ledger(out, FINGERPRINT)
    mine = manifest_of(first)
    loser.storage.put(f"{STAGED}{REL}/{mine.sha256}.json", mine.to_json())
    loser.storage.put(REL, first, metadata={"sha256": mine.sha256})
    put = loser.storage.put
    done: list[bool] = []

    def put_then_winner_finishes(key: str, *args: Any, **options: Any) -> Any:
        try:
            return put(key, *args, **options)
        finally:
            if key == REL and not done:
                done.append(True)
                winner.commit(mine, 0)
                winner.storage.delete(f"{STAGED}{REL}/{mine.sha256}.json")

    monkeypatch.setattr(loser.storage, "put", put_then_winner_finishes)
    assert loser.publish(manifest_of(second), second, over=0) == mine


def test_foreign_file_is_left_alone(out: str) -> None:
    open_storage(out).put(REL, b"not ours")
    data = archive("mine")
    with pytest.raises(ObjectExistsError, match=r"ep1\.cbz"):
        Ledger(out, FINGERPRINT).publish(manifest_of(data), data, over=0)
    assert open_storage(out).read(REL) == b"not ours"
    assert keys(out) == [REL]
    assert Ledger(out, FINGERPRINT).manifests() == {}


def test_older_weights_archive_is_not_taken_for_ours(out: str) -> None:
    old, new = archive("old"), archive("new")
    Ledger(out, OTHER).publish(manifest_of(old, fingerprint=OTHER), old, over=0)
    with pytest.raises(ObjectExistsError):
        Ledger(out, FINGERPRINT).publish(manifest_of(new), new, over=0)
    assert open_storage(out).read(REL) == old


def test_replace(out: str) -> None:
    old, new = archive("old"), archive("new")
    Ledger(out, OTHER).publish(manifest_of(old, fingerprint=OTHER), old, over=0)
    Ledger(out, FINGERPRINT).publish(manifest_of(new), new, over=1)
    assert open_storage(out).read(REL) == new
    assert Ledger(out, FINGERPRINT).manifests() == {REL: manifest_of(new).summary()}
    assert keys(out, STAGED) == []


def test_two_runs_that_replace_at_once_leave_a_manifest_that_holds(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, one, two = archive("old"), archive("one"), archive("two")
    Ledger(out, FINGERPRINT).publish(manifest_of(old), old, over=0)
    first, second = Ledger(out, FINGERPRINT), Ledger(out, FINGERPRINT)
    commit, overtaken = Revisions.commit, []

    def commit_after_the_other(self: Revisions, manifest: Manifest, over: int) -> Manifest:
        if not overtaken:
            overtaken.append(True)
            second.publish(manifest_of(two), two, over=1)
        return commit(self, manifest, over)

    monkeypatch.setattr(Revisions, "commit", commit_after_the_other)
    first.publish(manifest_of(one), one, over=1)
    assert overtaken
    assert Ledger(out, FINGERPRINT).manifests() == {REL: manifest_of(open_storage(out).read(REL)).summary()}
    assert keys(out, STAGED) == []


def test_recover_after_a_kill_between_archive_and_manifest(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive("one")
    publish_and_die(out, data, monkeypatch)
    assert Ledger(out, FINGERPRINT).manifests() == {}

    ledger = Ledger(out, FINGERPRINT)
    assert ledger.recover() == {REL: manifest_of(data).summary()}
    assert ledger.manifests() == {REL: manifest_of(data).summary()}
    assert ledger.recover() == {}
    ledger.sweep([manifest_of(data)])
    assert keys(out) == [f"{CHAPTERS}{REL}.json", REL]


def test_nothing_is_recovered_that_was_not_published(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, staged = archive("was there"), archive("never put")
    dead = Ledger(out, FINGERPRINT)
    for rel in ("ep1.cbz", "ep2.cbz"):
        with monkeypatch.context() as patch:
            put = dead.storage.put

            def stop_before_archive(
                key: str, *args: Any, put: Callable[..., Any] = put, rel: str = rel, **kw: Any
            ) -> Any:
                if key == rel:
                    raise Killed
                return put(key, *args, **kw)

            patch.setattr(dead.storage, "put", stop_before_archive)
            with pytest.raises(Killed):
                dead.publish(manifest_of(staged, rel=rel), staged, over=0)
    open_storage(out).put("ep2.cbz", before)  # somebody else's
    assert len(keys(out, STAGED)) == 2

    ledger = Ledger(out, FINGERPRINT)
    assert ledger.recover() == {}
    assert ledger.manifests() == {}
    data = archive("again")
    assert ledger.publish(manifest_of(data, rel="ep1.cbz"), data, over=0) == manifest_of(data, rel="ep1.cbz")
    assert open_storage(out).read("ep2.cbz") == before


def test_recover_takes_other_marks_of_the_same_bytes(out: str) -> None:
    """A run followed a marked page, which changed no pixel, and died before its manifest was written."""
    data, ledger = archive("one"), Ledger(out, FINGERPRINT)
    described = replace(PAGES[0], description=as_text(np.ones(32, np.float32) / 32**0.5))
    before = replace(manifest_of(data), pages=[described])
    ledger.publish(before, data, over=0)
    marked = replace(before, pages=[replace(described, references=("a.png",))])
    open_storage(out).put(f"{STAGED}{REL}/{marked.sha256}.json", marked.to_json())
    assert ledger.recover() == {REL: marked.summary()}


def test_recover_takes_what_lies_there_of_several_staged(out: str) -> None:
    one, two = archive("one"), archive("two")
    storage = open_storage(out)
    for data in (one, two):
        storage.put(f"{STAGED}{REL}/{manifest_of(data).sha256}.json", manifest_of(data).to_json())
    storage.put(REL, two)
    ledger = Ledger(out, FINGERPRINT)
    assert ledger.recover() == {REL: manifest_of(two).summary()}


def test_sweep_takes_only_leftovers(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(out, FINGERPRINT)
    ledger.claim(JOB, replace=False)
    data = archive("one")
    ledger.publish(manifest_of(data), data, over=0)
    leftovers = [f"{HOME}/pieces/{REL}/x/000000.zip", f"{STAGED}{REL}/x.json"]
    others = [f"{HOME}/pieces/other.cbz/x/000000.zip", f"{STAGED}other.cbz/x.json"]  # another run is at work on it
    for key in leftovers + others:
        ledger.storage.put(key, b"{}")
    done, refused = manifest_of(data).summary(), replace(manifest_of(data, rel="refused.cbz"), status="quarantined")
    ledger.storage.put(f"{STAGED}refused.cbz/x.json", b"{}")  # it tells what a killed run may have put of it
    others.append(f"{STAGED}refused.cbz/x.json")
    ledger.sweep([done, refused])  # a run may be at work on a chapter that has ended, and what it staged is young
    assert set(keys(out)) - set(others) == {f"{CHAPTERS}{REL}.json", f"{HOME}/job.json", REL, f"{STAGED}{REL}/x.json"}
    monkeypatch.setattr("jobs.parts.ledger.ledger._STALE", timedelta(seconds=-60))  # a day later
    ledger.sweep([done, refused])
    assert keys(out) == sorted([f"{CHAPTERS}{REL}.json", f"{HOME}/job.json", REL, *others])


def test_sweep_ends_what_killed_writers_left_of_finished_chapters(s3: str) -> None:
    ledger = Ledger(f"{s3}/out", FINGERPRINT)
    data = archive("one")
    ledger.publish(manifest_of(data), data, over=0)
    storage = ledger.storage
    assert isinstance(storage, S3Storage)
    prefix = f"{s3.removeprefix('s3://pages/')}/out"
    for rel in (REL, "other.cbz"):
        storage.client.create_multipart_upload(Bucket="pages", Key=f"{prefix}/{rel}")
    ledger.sweep([manifest_of(data).summary()])
    left = storage.client.list_multipart_uploads(Bucket="pages", Prefix=prefix).get("Uploads", [])
    assert [upload["Key"] for upload in left] == [f"{prefix}/other.cbz"]


def test_a_folder_that_was_taken_over_gets_nothing_more(out: str) -> None:
    ledger = Ledger(out, FINGERPRINT)
    ledger.claim(JOB, replace=False)
    Ledger(out, OTHER).claim(JOB, replace=True)
    data = archive("one")
    with pytest.raises(ObjectExistsError, match="taken over"):
        ledger.publish(manifest_of(data), data, over=0)
    assert keys(out) == [f"{HOME}/job.json"]


def test_whose_a_folder_is_can_be_told_without_its_job_file(out: str) -> None:
    ledger = Ledger(out, FINGERPRINT)
    ledger.claim(JOB, replace=False)
    data = archive("one")
    ledger.publish(manifest_of(data), data, over=0)
    ledger.storage.put(f"{HOME}/job.json", b'{"fingerpr')
    with pytest.raises(BadUsageError, match="--replace"):
        Ledger(out, OTHER).claim(JOB, replace=False)
    ledger.claim(JOB, replace=False)
    assert json.loads(ledger.storage.read(f"{HOME}/job.json"))["fingerprint"] == FINGERPRINT


@pytest.mark.parametrize("harm", ["bit", "cut", "other", "no digest", "nested"])
def test_a_manifest_that_was_altered_is_told(out: str, harm: str) -> None:
    ledger = Ledger(out, FINGERPRINT)
    data = archive("one")
    ledger.publish(manifest_of(data), data, over=0)
    text = ledger.storage.read(f"{CHAPTERS}{REL}.json")
    harmed = {
        "bit": text.replace(b'"done"', b'"dome"'),
        "cut": text[:-30],
        "other": b"[]",
        "nested": b"[" * 10**5,
        "no digest": json.dumps({k: v for k, v in json.loads(text).items() if k != "digest"}).encode(),
    }[harm]
    ledger.storage.put(f"{CHAPTERS}{REL}.json", harmed)
    found = ledger.manifests([REL])
    assert (found[REL].status, found[REL].code) == ("damaged", "MANIFEST")
    assert ledger.manifest(REL) == found[REL]
    assert not ledger.covers(found[REL], ChapterRef("/in", REL, REL, "archive", 1, "v1"), "any")


def test_a_manifest_that_is_known_is_not_read_again(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(out, FINGERPRINT)
    long = f"{'n' * 250}.cbz"  # its manifest has a shortened name
    for rel in ("a.cbz", "b/c.cbz", long):
        ledger.commit(manifest_of(b"1", rel=rel), 0)
    ledger.commit(manifest_of(b"2", rel="b/c.cbz"), 1)
    first = ledger.manifests()
    ledger.commit(manifest_of(b"3", rel="a.cbz"), 1)
    ledger.commit(manifest_of(b"4", rel="new.cbz"), 0)
    asked: list[str] = []
    read = Revisions.read

    def noted(self: Revisions, rel: str, number: int) -> Manifest | None:
        asked.append(rel)
        return read(self, rel, number)

    monkeypatch.setattr(Revisions, "read", noted)
    again = ledger.manifests(known=first.values())
    assert sorted(asked) == ["a.cbz", "new.cbz"]
    monkeypatch.undo()
    assert again == ledger.manifests()
    assert {rel: manifest.number for rel, manifest in again.items()} == {
        "a.cbz": 2, "b/c.cbz": 2, long: 1, "new.cbz": 1,
    }  # fmt: skip


def test_covers() -> None:
    ledger = Ledger("/nowhere", FINGERPRINT)
    ref = ChapterRef("/in", REL, REL, "archive", 1, "v1")
    mine = manifest_of(b"x")
    assert ledger.covers(mine, ref, "any")
    assert not ledger.covers(None, ref, "any")
    assert not ledger.covers(mine, replace(ref, version="v2"), "any")
    assert not ledger.covers(replace(mine, fingerprint=OTHER), ref, "any")
    refused = replace(mine, status="quarantined", policy="strict")
    assert ledger.covers(refused, ref, "strict")
    assert not ledger.covers(refused, ref, "lenient")  # what was refused may be accepted now


def test_a_name_as_long_as_file_systems_take_has_room_for_its_manifest(out: str) -> None:
    ledger, data = Ledger(out, FINGERPRINT), archive("one")
    first, second = (manifest_of(data, rel=f"v/{'x' * 250}{n}.cbz") for n in (1, 2))
    for manifest in (first, second):
        ledger.commit(manifest, 0)
    assert ledger.manifests() == {first.rel: first.summary(), second.rel: second.summary()}
    assert ledger.manifest(second.rel) == second


def test_the_hints_of_the_last_run_are_recorded(tmp_path: Path) -> None:
    """The desk begins with them. They are no matter of the fingerprint."""
    job = {"weights_sha256": "w", "settings": {}, "config": {"hints": ""}}
    Ledger(str(tmp_path), FINGERPRINT).claim(job, replace=False)

    Ledger(str(tmp_path), FINGERPRINT).claim({**job, "config": {"hints": "h.csv"}}, replace=False)

    assert json.loads((tmp_path / "_mangahue/job.json").read_text())["config"] == {"hints": "h.csv"}
