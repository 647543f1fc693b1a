"""A bucket that misbehaves: which faults storage survives, which it reports, and that it leaves nothing behind."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from datasets import s3_calls, storage_s3
from datasets.errors import AccessDeniedError, StorageError
from datasets.s3_calls import make_client
from datasets.storage_s3 import S3Storage
from tests.fault_proxy import Fault, FaultProxy, Request
from tests.s3_server import SeaweedFS


@pytest.fixture
def proxy(s3_server: SeaweedFS, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    assert s3_server.port is not None
    with FaultProxy(s3_server.port) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


@pytest.fixture
def bucket(proxy: FaultProxy) -> S3Storage:
    return S3Storage(f"pages/{uuid.uuid4().hex}", make_client())


def meet(proxy: FaultProxy, fault: Fault, times: int, method: str = "") -> None:
    """Let the next `times` requests of this method (of any, if none is given) meet the fault."""
    left = [times]

    def choose(request: Request) -> Fault:
        if left[0] and method in ("", request.method):
            left[0] -= 1
            return fault
        return "none"

    proxy.choose = choose


def uploads(bucket: S3Storage) -> list[str]:
    found = bucket.client.list_multipart_uploads(Bucket=bucket.bucket, Prefix=bucket._root)
    return [upload["Key"] for upload in found.get("Uploads", [])]


def test_all_passes_through(proxy: FaultProxy, bucket: S3Storage) -> None:
    data = bytes(range(256)) * 5000
    bucket.put("a", data, if_absent=True)
    assert bucket.read("a") == data
    assert [entry.key for entry in bucket.list()] == ["a"]
    bucket.delete("a")
    assert bucket.stat("a") is None
    assert proxy.met == {"none": 0}


@pytest.mark.parametrize("fault", ["slow down", "reset", "lost answer", "gone"])
def test_faults_that_pass(proxy: FaultProxy, bucket: S3Storage, fault: Fault) -> None:
    data = bytes(range(256)) * 5000
    meet(proxy, fault, 3, "PUT")
    bucket.put("a", data, if_absent=True)  # where the answer was lost, the second put finds its own object
    meet(proxy, fault, 2, "GET")
    assert bucket.read("a") == data
    meet(proxy, fault, 2, "HEAD")
    assert bucket.stat("a") is not None
    meet(proxy, fault, 2, "GET")
    assert [entry.key for entry in bucket.list()] == ["a"]
    meet(proxy, fault, 2, "DELETE")
    bucket.delete("a")
    assert [entry.key for entry in bucket.list()] == []
    assert proxy.met[fault] >= 9  # an answer without a body can't break off in the middle


def test_a_server_that_is_gone_for_longer_than_botocore_waits(
    proxy: FaultProxy, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_calls, "PATIENCE", 60.0)
    monkeypatch.setattr(bucket.client.meta.config, "retries", {"total_max_attempts": 1})
    back = time.monotonic() + 20
    proxy.choose = lambda request: "gone" if time.monotonic() < back else "none"
    bucket.put("a", b"late", if_absent=True)
    assert bucket.read("a") == b"late"
    assert proxy.met["gone"] > 3


def test_patience_ends(proxy: FaultProxy, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_calls, "PATIENCE", 3.0)
    proxy.choose = lambda request: "gone"
    with pytest.raises(StorageError, match="no answer"):
        bucket.read("a")


def test_an_answer_that_hardly_flows_is_cut_off_and_asked_for_again(
    proxy: FaultProxy, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_calls, "STALL_SECONDS", 2.0)
    bucket.put("a", b"x" * 5000)
    meet(proxy, "trickle", 1, "GET")
    assert bucket.read("a") == b"x" * 5000
    assert proxy.met["trickle"] == 1
    monkeypatch.setattr(s3_calls, "PATIENCE", 0.0)
    proxy.choose = lambda request: "trickle"
    with pytest.raises(StorageError):  # at this pace it would take 500 seconds, longer than a test may
        bucket.read("a")
    assert proxy.met["trickle"] == 1 + s3_calls.STALLS


def test_credentials_that_expire_are_told_at_once(proxy: FaultProxy, bucket: S3Storage) -> None:
    bucket.put("a", b"x")
    proxy.choose = lambda request: "expired"
    with pytest.raises(AccessDeniedError, match="ExpiredToken"):
        bucket.put("b", b"y")
    assert proxy.met["expired"] == 1


@pytest.mark.parametrize("fault", ["slow down", "reset", "lost answer", "gone"])
def test_no_upload_is_left_half_done(
    proxy: FaultProxy, bucket: S3Storage, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 5 << 20)
    monkeypatch.setattr(storage_s3, "PART_BYTES", 5 << 20)
    data = bytes(11 << 20)
    meet(proxy, fault, 2, "PUT")
    bucket.put("a", data, if_absent=True)
    meet(proxy, fault, 1, "POST")  # the start of the upload: if its answer is lost, who began it can't end it
    bucket.put("b", data, if_absent=True)
    proxy.choose = lambda request: "none"
    assert [(entry.key, entry.size) for entry in bucket.list()] == [("a", len(data)), ("b", len(data))]
    bucket.abort_stale_uploads(timedelta(days=1), {"a", "b"})
    assert uploads(bucket) == []
