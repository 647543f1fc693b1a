"""Numbered manifests: of many writers one wins, the highest number is true, and formats are told apart."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.errors import ObjectExistsError
from datasets.storage import Storage, open_storage
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import FORMAT, DamagedManifestError, Manifest, NewerFormatError, _digest
from jobs.parts.ledger.revisions import OvertakenError, Revisions, key_of

REL = "volume 1/ep1.cbz"


def manifest(message: str, rel: str = REL) -> Manifest:
    return Manifest(rel, f"/in/{rel}", "v1", "f" * 64, "quarantined", message=message)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")
    return open_storage(f"{root}/out")


def test_each_manifest_follows_the_one_before(storage: Storage) -> None:
    log = pickle.loads(pickle.dumps(Revisions(storage)))
    assert log.latest(REL) is None
    for number in range(12):  # 10 comes after 9
        made = log.commit(manifest(str(number)), number)
        found = log.latest(REL)
        assert found is not None
        assert (found, found.number, made.number) == (made, number + 1, number + 1)
    assert [entry.key for entry in storage.list(f"{HOME}/")] == [f"{HOME}/revisions/{REL}/12.json"]
    assert list(log.highest()) == [(f"{HOME}/chapters/{REL}.json", 12, REL)]


def test_the_first_is_where_it_always_was(storage: Storage) -> None:
    Revisions(storage).commit(manifest("one"), 0)
    assert [entry.key for entry in storage.list(f"{HOME}/")] == [f"{HOME}/chapters/{REL}.json"]


@pytest.mark.parametrize("over", [0, 3])
def test_of_many_writers_one_wins(storage: Storage, over: int) -> None:
    log = Revisions(storage)
    for number in range(over):
        log.commit(manifest(str(number)), number)

    def write(name: str) -> bool:
        try:
            Revisions(open_storage(storage.uri)).commit(manifest(name), over)
        except OvertakenError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        won = [name for name, wins in zip("abcdef", threads.map(write, "abcdef"), strict=True) if wins]
    assert len(won) == 1
    found = log.latest(REL)
    assert found is not None
    assert (found.message, found.number) == (won[0], over + 1)


@pytest.mark.parametrize("over", [0, 1, 2])
def test_a_number_that_was_passed_and_deleted_can_not_be_taken_again(storage: Storage, over: int) -> None:
    log = Revisions(storage)
    for number in range(5):
        log.commit(manifest(str(number)), number)
    with pytest.raises(OvertakenError, match=r"ep1\.cbz.*run again"):
        log.commit(manifest("late"), over)
    found = log.latest(REL)
    assert found is not None
    assert found.message == "4"
    assert [entry.key for entry in storage.list(f"{HOME}/")] == [key_of(REL, 5)]


def test_what_a_late_writer_left_when_it_died_counts_for_nothing(storage: Storage) -> None:
    log = Revisions(storage)
    for number in range(4):
        log.commit(manifest(str(number)), number)
    storage.put(key_of(REL, 1), manifest("late").to_json())
    storage.put(key_of(REL, 2), manifest("late").to_json())
    assert Ledger(storage.uri, "").manifests()[REL].message == "3"
    found = log.latest(REL)
    assert found is not None
    assert found.message == "3"
    log.commit(manifest("next"), 4)
    assert [entry.key for entry in storage.list(f"{HOME}/")] == [key_of(REL, 5)]


def test_chapters_lie_in_chapters(storage: Storage) -> None:
    log = Revisions(storage)
    rels = ["series", "series/ch01.cbz", "series/ch01.cbz/extra"]
    for rel in rels:
        log.commit(manifest("one", rel), 0)
        log.commit(manifest(f"two of {rel}", rel), 1)
    for rel in rels:
        found = log.latest(rel)
        assert found is not None
        assert found.message == f"two of {rel}"
    assert set(Ledger(storage.uri, "").manifests()) == set(rels)


def test_a_damaged_revision_is_followed_by_a_whole_one(storage: Storage) -> None:
    log = Revisions(storage)
    log.commit(manifest("one"), 0)
    log.commit(manifest("two"), 1)
    storage.put(key_of(REL, 2), b"{")
    found = log.latest(REL)
    assert found is not None
    assert (found.status, found.code, found.number) == ("damaged", "MANIFEST", 2)
    assert Ledger(storage.uri, "").manifests()[REL].number == 2
    assert log.commit(manifest("three"), 2).number == 3


def test_a_replaced_manifest_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is replaced between the listing and the reading."""
    ledger, log = Ledger(str(tmp_path), ""), Revisions(open_storage(str(tmp_path)))
    log.commit(manifest("one"), 0)
    read, done = ledger.storage.read, []

    def replaced_meanwhile(key: str) -> bytes:
        if not done:
            done.append(log.commit(manifest("two"), 1))
        return read(key)

    monkeypatch.setattr(ledger.storage, "read", replaced_meanwhile)
    found = ledger.manifests()[REL]
    assert (found.message, found.number) == ("two", 2)


def test_a_later_format_is_refused_and_not_taken_for_damage() -> None:
    values = json.loads(manifest("x").to_json())
    assert values["format"] == FORMAT

    def in_format(number: int) -> bytes:
        unsigned = {key: value for key, value in values.items() if key != "digest"} | {"format": number}
        return json.dumps({**unsigned, "digest": _digest(unsigned)}).encode()

    with pytest.raises(NewerFormatError, match=r"ep1\.cbz has format 3.*up to 2; update mangahue"):
        Manifest.from_json(in_format(FORMAT + 1))
    assert Manifest.from_json(in_format(FORMAT)) == manifest("x")
    with pytest.raises(DamagedManifestError):  # its format may be what was altered
        Manifest.from_json(in_format(FORMAT).replace(b'"format": 2', b'"format": 3'))


def test_the_number_is_no_part_of_what_is_stored() -> None:
    one = manifest("x")
    assert replace(one, number=7).to_json() == one.to_json()


def test_what_is_no_manifest_is_not_taken_for_another_run(tmp_path: Path) -> None:
    log = Revisions(open_storage(str(tmp_path)))
    (tmp_path / key_of(REL, 1)).mkdir(parents=True)
    with pytest.raises(ObjectExistsError, match=r"ep1\.cbz\.json"):
        log.commit(manifest("one"), 0)
