"""Whose folder it is, and whether the store keeps two jobs apart at all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datasets import s3_calls
from datasets.errors import BadUsageError
from datasets.storage import Entry, Storage, open_storage
from datasets.storage_disk import LocalStorage
from datasets.storage_s3 import S3Storage
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.runtime.claims import claim, read_json

KEY = "folder/job.json"


class Careless(LocalStorage):
    """A store that overwrites, whatever the condition. It counts the puts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.puts = 0

    def put(self, key: str, data: bytes | Path, **condition: Any) -> Entry:
        self.puts += 1
        return super().put(key, data)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path) if request.param == "local" else request.getfixturevalue("s3"))


@pytest.fixture
def careless_bucket(s3: str) -> S3Storage:
    """A bucket of the real server, which is never sent the condition: as if it ignored it."""
    storage = S3Storage(s3.removeprefix("s3://"), s3_calls.make_client())

    def drop(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-None-Match", None)

    storage.client.meta.events.register("before-call.s3.PutObject", drop)
    return storage


def test_the_first_claim_is_put_and_every_later_one_reads_it(storage: Storage) -> None:
    assert claim(storage, KEY, {"job": 1}) is None
    assert claim(storage, KEY, {"job": 2}) == {"job": 1}
    assert read_json(storage, KEY) == {"job": 1}


def test_a_damaged_claim_stays(storage: Storage) -> None:
    storage.put(KEY, b"{")
    assert claim(storage, KEY, {"job": 1}) == {}
    assert storage.read(KEY) == b"{"


def test_claims_at_the_same_moment_are_not_taken_for_a_careless_store(storage: Storage) -> None:
    for round_number in range(5):
        barrier = threading.Barrier(6)

        def begin(number: int, key: str = f"{round_number}/job.json", barrier: threading.Barrier = barrier) -> Any:
            barrier.wait()
            return claim(storage, key, {"job": number % 2})

        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(begin, range(6)))
        assert found.count(None) == 1
        owner = found.index(None) % 2
        assert [there for there in found if there is not None] == [{"job": owner}] * 5


def test_a_bucket_that_ignores_the_condition_is_refused(careless_bucket: S3Storage) -> None:
    with pytest.raises(BadUsageError) as refusal:
        claim(careless_bucket, KEY, {"job": 1})
    for part in (careless_bucket.uri, careless_bucket.endpoint, "ignores If-None-Match", "another S3 server"):
        assert part in str(refusal.value)
    assert careless_bucket.stat(KEY) is None  # a refused job owns nothing


def test_a_refused_claim_leaves_the_owner_of_the_folder(careless_bucket: S3Storage) -> None:
    careless_bucket.put(KEY, b'{"job": 1}')
    with pytest.raises(BadUsageError, match="ignores If-None-Match"):
        claim(careless_bucket, KEY, {"job": 2})
    assert read_json(careless_bucket, KEY) == {"job": 1}


def test_a_file_system_that_overwrites_is_refused(tmp_path: Path) -> None:
    careless = Careless(tmp_path)
    with pytest.raises(BadUsageError, match=f"{tmp_path}.*hard link"):
        claim(careless, KEY, {"job": 1})
    assert careless.puts == 2


def test_a_colouring_does_not_begin_there(careless_bucket: S3Storage) -> None:
    ledger = Ledger(careless_bucket.uri, "a1" * 32)
    ledger.storage = careless_bucket
    for replace in (False, True):
        with pytest.raises(BadUsageError, match="ignores If-None-Match"):
            ledger.claim({"weights_sha256": "", "settings": {}}, replace=replace)
    assert list(careless_bucket.list(f"{HOME}/")) == []
