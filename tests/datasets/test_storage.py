"""The promises of storage, on disk and on a real S3 server alike."""

import hashlib
import io
import os
import pickle
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import FileSelector

from datasets import s3_calls, storage_disk, storage_s3
from datasets.errors import (
    AccessDeniedError,
    BadUsageError,
    MangahueError,
    ObjectExistsError,
    ObjectNotFoundError,
    StorageError,
)
from datasets.storage import TEMP_PREFIX, Storage, check_key, open_storage, split_uri
from datasets.storage_disk import LocalStorage
from datasets.storage_s3 import S3Storage
from tests.s3_server import SECRET_KEY, SeaweedFS

HOSTILE = [
    "",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    "./a",
    "a//b",
    "a/",
    "a\0b",
    "..\\x",
    "a\\..\\..\\x",
    f"a/{TEMP_PREFIX}1",
]


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty storage of each kind."""
    if request.param == "local":
        return open_storage(str(tmp_path / "root"))
    return request.getfixturevalue("bucket")


@pytest.fixture
def bucket(s3: str) -> S3Storage:
    """Return an empty storage on S3 with a client of its own, which a test may change."""
    return S3Storage(s3.removeprefix("s3://"), s3_calls.make_client())


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """Use multipart from 5 MiB on, the smallest part that S3 allows, and return a size of three parts."""
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 5 << 20)
    monkeypatch.setattr(storage_s3, "PART_BYTES", 5 << 20)
    return 11 << 20


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [entry.key for entry in storage.list(prefix)]


def unfinished_uploads(storage: S3Storage) -> list[str]:
    answer = storage.client.list_multipart_uploads(Bucket=storage.bucket, Prefix=storage.uri.split("/", 3)[3])
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def on_send(storage: S3Storage, operation: str, answer: Callable[[Any], AWSResponse | None]) -> list[str]:
    """Answer requests in the server's place; None lets one through. Returns the list that requests are added to."""
    seen: list[str] = []

    def handler(request: Any, **_: Any) -> AWSResponse | None:
        seen.append(request.url)
        return answer(request)

    storage.client.meta.events.register(f"before-send.s3.{operation}", handler)
    return seen


def fake(request: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> AWSResponse:
    raw = urllib3.HTTPResponse(io.BytesIO(body), headers=headers, preload_content=False)
    return AWSResponse(request.url, status, headers or {}, raw)


# Objects


def test_what_was_put_is_read(storage: Storage) -> None:
    put = storage.put("a/b.bin", b"0123456789")
    assert (put.key, put.size) == ("a/b.bin", 10)
    assert storage.stat("a/b.bin") == put
    assert list(storage.list()) == [put]
    assert storage.read("a/b.bin") == b"0123456789"
    assert storage.put("a/b.bin", b"9876543210").version != put.version
    assert storage.read("a/b.bin") == b"9876543210"


@pytest.mark.parametrize("key", ["第1話/表紙 #1.png", "a b/100%?&=+~'\"!.txt", "é\u0301.cbz", "%2e%2e/x", ".hidden"])
def test_awkward_names(storage: Storage, key: str) -> None:
    storage.put(key, b"x")
    assert keys(storage) == [key]
    assert storage.read(key) == b"x"
    assert storage.stat(key) is not None


def test_a_file_and_an_empty_object(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    assert storage.put("file", source).size == 11
    storage.put("empty", b"")
    assert storage.read("file") == b"from a file"
    assert storage.read("empty") == b""
    assert storage.read_range("empty", 0, 5) == b""
    with storage.open("empty") as stream:
        assert stream.read() == b""


def test_a_source_file_that_is_missing_is_named(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match="no-such-source"):
        storage.put("a", tmp_path / "no-such-source")
    assert keys(storage) == []


def test_what_is_missing(storage: Storage) -> None:
    storage.put("folder/a", b"")
    for key in ("gone", "folder", "folder/a/b"):
        assert storage.stat(key) is None
        for attempt in (storage.read, storage.open, storage.metadata, lambda key: storage.read_range(key, 0, 1)):
            with pytest.raises(ObjectNotFoundError, match=key):
                attempt(key)


def test_delete(storage: Storage) -> None:
    storage.put("folder/a", b"")
    storage.delete("folder")
    assert keys(storage) == ["folder/a"]
    storage.delete("folder/a")
    storage.delete("folder/a")
    storage.delete("never/was")
    assert keys(storage) == []


def test_metadata_is_kept_on_s3_and_our_own_is_not_shown(bucket: S3Storage) -> None:
    bucket.put("a", b"", metadata={"input": "s3://x/y", "sha256": "0"}, content_type="application/json")
    assert bucket.metadata("a") == {"input": "s3://x/y", "sha256": "0"}
    assert bucket.client.head_object(Bucket=bucket.bucket, Key=bucket._key("a"))["ContentType"] == "application/json"
    with pytest.raises(BadUsageError, match="ascii"):
        bucket.put("b", b"", metadata={"title": "漫画"})


def test_metadata_on_disk_is_empty(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"", metadata={"input": "x"})
    assert storage.metadata("a") == {}


# Listing


def test_listing_is_in_order_and_by_prefix(storage: Storage) -> None:
    names = ["a-b", "a.txt", "a/1", "a/b/c/d", "a/b.txt", "ab", "a0", "b/1", "Z", "表/1"]
    for name in names:
        storage.put(name, b"")
    in_order = sorted if isinstance(storage, S3Storage) else list  # SeaweedFS lists folder by folder; AWS does not
    assert in_order(keys(storage)) == sorted(names)
    assert in_order(keys(storage, "a/")) == ["a/1", "a/b.txt", "a/b/c/d"]
    assert in_order(keys(storage, "a")) == ["a-b", "a.txt", "a/1", "a/b.txt", "a/b/c/d", "a0", "ab"]
    assert in_order(keys(storage, "a/b")) == ["a/b.txt", "a/b/c/d"]
    assert keys(storage, "a/b/c/d") == ["a/b/c/d"]
    assert keys(storage, "missing/") == keys(storage, "ab/") == keys(storage.child("missing")) == []
    for prefix in ("/", "..", "../", "a/../", "a//"):
        with pytest.raises(BadUsageError):
            keys(storage, prefix)


def test_listing_of_more_than_a_page(storage: Storage) -> None:
    names = [f"{number % 7}{'/-.'[number % 3]}{number:04d}" for number in range(1050)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.put(name, b"x"), names))
    assert sorted(keys(storage)) == sorted(names)


def test_folder_markers_of_consoles_are_no_objects(bucket: S3Storage) -> None:
    bucket.client.put_object(Bucket=bucket.bucket, Key=bucket._key("folder") + "/", Body=b"")
    bucket.put("folder/a", b"")
    assert keys(bucket) == ["folder/a"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "page").write_bytes(b"x")
    storage = LocalStorage(tmp_path / "root")
    storage.put("a/page", b"x")
    (tmp_path / "root/linked").symlink_to(elsewhere)
    (tmp_path / "root/a/up").symlink_to(tmp_path / "root")
    (tmp_path / "root/broken").symlink_to(tmp_path / "nothing")
    assert keys(storage) == ["a/page", "linked/page"]


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.cbz").write_bytes(b"")
    with pytest.raises(BadUsageError, match=r"book\.cbz is a file"):
        keys(open_storage(str(tmp_path / "book.cbz")))


# Conditional puts: one winner


def test_a_conditional_put_does_not_overwrite(storage: Storage) -> None:
    storage.put("a", b"first", if_absent=True)
    with pytest.raises(ObjectExistsError, match="a: something is there"):
        storage.put("a", b"second", if_absent=True)
    assert storage.read("a") == b"first"
    storage.delete("a")
    storage.put("a", b"third", if_absent=True)
    assert storage.read("a") == b"third"


def test_of_eight_writers_one_wins(storage: Storage) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        try:
            storage.put("folder/chapter.cbz", b"%d" % number * 100_000, if_absent=True, metadata={"sha256": "the same"})
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert storage.read("folder/chapter.cbz") == b"%d" % won.index(True) * 100_000
    assert keys(storage) == ["folder/chapter.cbz"]
    assert storage.abort_stale_uploads(timedelta(0)) == 0


@pytest.mark.parametrize(("operation", "size"), [("PutObject", 10), ("CompleteMultipartUpload", 11 << 20)])
@pytest.mark.parametrize("metadata", [None, {"sha256": "abc"}])
def test_a_win_whose_answer_was_lost_is_a_win(
    bucket: S3Storage, small_parts: int, operation: str, size: int, metadata: dict[str, str] | None
) -> None:
    def lose_the_first(request: Any) -> AWSResponse | None:
        if len(seen) > 1:
            return None
        sent = bucket.client._endpoint.http_session.send(request)  # type: ignore[attr-defined]
        assert sent.status_code == 200, sent.content
        return fake(request, 500, b"")

    seen = on_send(bucket, operation, lose_the_first)
    entry = bucket.put("a", b"x" * size, if_absent=True, metadata=metadata)
    assert len(seen) == 2
    assert bucket.stat("a") == entry
    with pytest.raises(ObjectExistsError):  # the very same content, yet not ours
        bucket.put("a", b"x" * size, if_absent=True, metadata=metadata)


def test_a_conflict_is_tried_again(bucket: S3Storage) -> None:
    conflict = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
    seen = on_send(bucket, "PutObject", lambda request: fake(request, 409, conflict) if len(seen) == 1 else None)
    bucket.put("a", b"x", if_absent=True)
    assert len(seen) == 2
    assert bucket.read("a") == b"x"


def test_conflicts_end_in_an_error(bucket: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_s3, "back_off", lambda attempt: None)
    conflict = b"<Error><Code>ConditionalRequestConflict</Code></Error>"
    seen = on_send(bucket, "PutObject", lambda request: fake(request, 409, conflict))
    with pytest.raises(StorageError, match="ConditionalRequestConflict"):
        bucket.put("a", b"x", if_absent=True)
    assert len(seen) == s3_calls.ATTEMPTS


# Whole or not at all


def test_a_large_file_is_put_whole(storage: Storage, tmp_path: Path) -> None:
    source, digest = tmp_path / "large", hashlib.sha256()
    with source.open("wb") as stream:
        for number in range(80):
            block = hashlib.sha256(b"%d" % number).digest() * (1 << 15)
            stream.write(block)
            digest.update(block)
    entry = storage.put("large", source, if_absent=True, metadata={"sha256": digest.hexdigest()})
    assert entry.size == 80 << 20
    assert storage.stat("large") == entry
    read = hashlib.sha256()
    with storage.open("large") as stream:
        while block := stream.read(3_000_000):
            read.update(block)
    assert read.digest() == digest.digest()
    if isinstance(storage, S3Storage):
        assert entry.version.endswith("-5"), "not in parts of 16 MiB"
        assert storage.metadata("large") == {"sha256": digest.hexdigest()}


def test_a_large_put_that_loses_leaves_nothing(bucket: S3Storage, small_parts: int) -> None:
    bucket.put("a", b"first")
    with pytest.raises(ObjectExistsError):
        bucket.put("a", bytes(small_parts), if_absent=True)
    assert bucket.read("a") == b"first"
    assert unfinished_uploads(bucket) == []


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_large_put_that_breaks_leaves_nothing(bucket: S3Storage, small_parts: int, failure: BaseException) -> None:
    begun: list[list[str]] = []

    def break_at_the_second_part(request: Any) -> None:
        if len(seen) == 2:
            begun.append(unfinished_uploads(bucket))
            raise failure

    seen = on_send(bucket, "UploadPart", break_at_the_second_part)
    with pytest.raises(type(failure)):
        bucket.put("a", bytes(small_parts))
    assert begun == [[bucket._key("a")]], "no upload had begun: the test proves nothing"
    assert unfinished_uploads(bucket) == []
    assert keys(bucket) == []


@pytest.mark.parametrize("if_absent", [True, False])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, if_absent: bool) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("kept", b"first")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        storage.put("new" if if_absent else "kept", b"second", if_absent=if_absent)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert storage.read("kept") == b"first"


def test_a_file_system_without_links_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(StorageError, match="no hard links"):
        LocalStorage(tmp_path).put("a", b"", if_absent=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"")
    for key in ("a/b/c", "a/b/c/d", "a"):
        with pytest.raises(BadUsageError, match="can't share a name"):
            storage.put(key, b"")
    assert keys(storage) == ["a/b"]


def test_published_files_have_the_usual_mode(tmp_path: Path) -> None:
    LocalStorage(tmp_path).put("a", b"", if_absent=True)
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode
    assert (tmp_path / "a").stat().st_nlink == 1


def test_stale_uploads_are_aborted_on_s3(bucket: S3Storage) -> None:
    inside, outside = bucket._key("a/b"), bucket._key("a") + "-other"
    for key in (inside, outside):
        bucket.client.create_multipart_upload(Bucket=bucket.bucket, Key=key)
    child = bucket.child("a")
    assert child.abort_stale_uploads(timedelta(hours=1)) == 0
    assert sorted(unfinished_uploads(bucket)) == sorted([inside, outside])
    assert child.abort_stale_uploads(timedelta(0)) == 1
    assert unfinished_uploads(bucket) == [outside]


def test_stale_temporary_files_are_removed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a/page", b"")
    old, new = tmp_path / f"a/{TEMP_PREFIX}old", tmp_path / f"{TEMP_PREFIX}new"
    old.write_bytes(b"half a ch")
    new.write_bytes(b"half a ch")
    os.utime(old, (1, 1))
    assert keys(storage) == ["a/page"]
    assert storage.abort_stale_uploads(timedelta(hours=1)) == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert keys(storage) == ["a/page"]


# Parts of objects


def test_ranges(storage: Storage) -> None:
    storage.put("a", b"0123456789")
    assert storage.read_range("a", 2, 3) == b"234"
    assert storage.read_range("a", 8, 100) == b"89"
    assert storage.read_range("a", 10, 5) == storage.read_range("a", 99, 5) == storage.read_range("a", 3, 0) == b""
    for start, length in ((-1, 2), (0, -1)):
        with pytest.raises(BadUsageError):
            storage.read_range("a", start, length)


@given(data=st.data())
def test_the_block_reader_reads_as_a_file_does(data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=200))
    block = data.draw(st.integers(1, 40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage_s3, "BLOCK_BYTES", block)
        reader = storage_s3._BlockReader(len(content), lambda start, length: content[start : start + length])
        ours, theirs = io.BufferedReader(reader, data.draw(st.integers(1, 64))), io.BytesIO(content)
        for _ in range(data.draw(st.integers(1, 12))):
            if data.draw(st.booleans()):
                position = data.draw(st.integers(0, 220))
                assert ours.seek(position) == theirs.seek(position)
            length = data.draw(st.integers(-1, 220))
            assert ours.read(length) == theirs.read(length)
            assert ours.tell() == theirs.tell()
        assert len(reader._blocks) <= storage_s3.CACHED_BLOCKS


def test_zipfile_reads_members_in_few_requests(storage: Storage) -> None:
    pages = {f"{number:03d}.png": os.urandom(200_000) for number in range(40)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, page in pages.items():
            archive.writestr(name, page)
    storage.put("chapter.cbz", buffer.getvalue())
    seen = on_send(storage, "GetObject", lambda request: None) if isinstance(storage, S3Storage) else []
    with storage.open("chapter.cbz") as stream, zipfile.ZipFile(stream) as archive:
        assert archive.namelist() == list(pages)
        assert archive.read("020.png") == pages["020.png"]
        assert len(seen) <= 3
        assert {name: archive.read(name) for name in pages} == pages
    assert len(seen) <= 13


def check_that_replacing_is_noticed(bucket: S3Storage) -> None:
    bucket.put("a", bytes(3 << 20))
    with bucket.open("a") as stream:
        assert stream.read(10) == bytes(10)
        bucket.put("a", b"\1" * (3 << 20))
        stream.seek(2 << 20)
        with pytest.raises(StorageError, match="was replaced"):
            stream.read(10)


def test_an_object_replaced_while_it_is_read_is_noticed(bucket: S3Storage) -> None:
    check_that_replacing_is_noticed(bucket)


def test_a_server_that_ignores_if_match_mixes_no_versions(bucket: S3Storage) -> None:
    def drop(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop("If-Match")

    bucket.client.meta.events.register("before-call.s3.GetObject", drop)
    check_that_replacing_is_noticed(bucket)


def test_an_answer_that_breaks_off_is_read_again(bucket: S3Storage) -> None:
    bucket.put("a", b"0123456789")
    headers = {"content-length": "10"}
    seen = on_send(bucket, "GetObject", lambda request: fake(request, 200, b"012", headers) if len(seen) == 1 else None)
    assert bucket.read("a") == b"0123456789"
    assert len(seen) == 2


# Names


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_keys_are_refused(storage: Storage, key: str) -> None:
    for attempt in (storage.stat, storage.read, storage.open, storage.metadata, storage.delete):
        with pytest.raises(BadUsageError):
            attempt(key)
    with pytest.raises(BadUsageError):
        storage.put(key, b"")
    with pytest.raises(BadUsageError):
        storage.read_range(key, 0, 1)
    if key != "a/":
        with pytest.raises(BadUsageError):
            storage.child(key)


@given(
    st.lists(st.sampled_from(["", ".", "..", "...", "a", "\0", "~", "\\", " ", "%2e%2e", "C:"]) | st.text()).map(
        "/".join
    )
)
def test_no_accepted_key_leaves_the_root(key: str) -> None:
    try:
        check_key(key)
    except BadUsageError:
        return
    path = LocalStorage(Path("/root/of/it"))._path(key)
    assert os.path.normpath(path) == str(path) == f"/root/of/it/{key}"
    assert S3Storage("bucket/root")._key(key) == f"root/{key}"


@given(st.lists(st.text("abc .-_~%#漫画", min_size=1).filter(lambda part: part not in (".", "..")), min_size=1))
def test_ordinary_keys_are_accepted(parts: list[str]) -> None:
    assert check_key("/".join(parts)) == "/".join(parts)


@pytest.mark.parametrize("key", ["a" * 1030, "bad-\udc80.png"])
def test_names_that_s3_can_not_hold_are_refused(key: str) -> None:
    with pytest.raises(BadUsageError):
        S3Storage("bucket/root").put(key, b"")


def test_names_that_are_no_text_are_read_from_disk(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\x82\xa0.png")).write_bytes(b"x")  # Shift JIS
    storage = LocalStorage(tmp_path)
    assert [storage.read(key) for key in keys(storage)] == [b"x"]


# Addresses


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert open_storage("s3://bucket/a/b/").uri == "s3://bucket/a/b"
    assert open_storage("S3://bucket").uri == "s3://bucket"
    assert open_storage("~/x/").uri == f"{tmp_path}/x"
    assert open_storage("x/../y").uri == f"{tmp_path}/y"
    assert open_storage("file:///x%20y/").uri == "/x y"
    assert open_storage("s3://bucket/a").child("b/").uri == "s3://bucket/a/b"
    assert open_storage("/a").child("b/c").uri == "/a/b/c"
    for uri in ("s3://bucket/a", "/x/y", "/"):
        assert open_storage(uri).uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/x",
        "https://x/y",
        "",
        "s3://",
        "s3:///x",
        "s3://b/../c",
        "s3://a b/c",
        "file:x",
        "file://host/x",
        "a\0",
        "~no-one/x",
    ],
)
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(BadUsageError):
        open_storage(uri)


def test_a_refusal_names_the_scheme_and_what_is_accepted() -> None:
    with pytest.raises(BadUsageError, match=r"gs.*s3://bucket/prefix, file:///folder, or a path"):
        open_storage("gs://bucket/x")


@pytest.mark.parametrize(
    "uri", ["s3://KEY:SECRET@bucket/x", "https://user:SECRET@host/x", "s3://KEY:SEC/SECRET@bucket"]
)
def test_credentials_in_an_address_are_not_repeated(uri: str) -> None:
    with pytest.raises(BadUsageError) as caught:
        open_storage(uri)
    assert "SEC" not in str(caught.value)


def test_split_uri(tmp_path: Path) -> None:
    assert split_uri("s3://bucket/a/b.cbz") == ("s3://bucket/a", "b.cbz")
    assert split_uri("s3://bucket/a/") == ("s3://bucket", "a")
    assert split_uri(f"{tmp_path}/b.cbz") == (str(tmp_path), "b.cbz")
    assert split_uri("file:///a") == ("/", "a")
    for uri in ("s3://bucket", "s3://bucket/", "/", "file:///"):
        with pytest.raises(BadUsageError, match="root"):
            split_uri(uri)


# Children, copies, PyArrow


def test_a_child_is_a_folder(storage: Storage) -> None:
    child = storage.child("series/chapter")
    child.put("page", b"x")
    assert keys(storage) == ["series/chapter/page"]
    assert keys(child) == ["page"]
    storage.put("series/chapter-2/page", b"y")
    assert keys(child) == ["page"]


def test_a_storage_is_pickled_without_credentials(storage: Storage) -> None:
    storage.put("a", b"x")
    pickled = pickle.dumps(storage)
    assert SECRET_KEY.encode() not in pickled
    assert SECRET_KEY not in repr(storage)
    copy = pickle.loads(pickled)
    assert (copy.uri, copy.read("a")) == (storage.uri, b"x")


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_pyarrow_reads_and_writes_the_same_objects(
    storage: Storage, variable: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if isinstance(storage, S3Storage):
        server: SeaweedFS = request.getfixturevalue("s3_server")
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
        monkeypatch.setenv(variable, server.endpoint)
    storage.put("a/b", b"ours")
    files, root = storage.arrow()
    with files.open_input_stream(f"{root}/a/b") as stream:
        assert stream.read() == b"ours"
    with files.open_output_stream(f"{root}/a/c") as stream:
        stream.write(b"theirs")
    assert storage.read("a/c") == b"theirs"
    assert [info.base_name for info in files.get_file_info(FileSelector(f"{root}/a"))] == ["b", "c"]


def test_pyarrow_is_left_alone_on_aws(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    files, root = open_storage("s3://bucket/x").arrow()
    assert (files.region, root) == ("eu-west-3", "bucket/x")


# Errors


def every_call(storage: Storage) -> Iterator[Callable[[], Any]]:
    yield lambda: list(storage.list())
    yield lambda: storage.stat("a")
    yield lambda: storage.read("a")
    yield lambda: storage.open("a")
    yield lambda: storage.metadata("a")
    yield lambda: storage.put("a", b"x")
    yield lambda: storage.put("a", b"x", if_absent=True)
    yield lambda: storage.delete("a")
    yield lambda: storage.abort_stale_uploads(timedelta(0))


def messages(storage: Storage, expected: type[MangahueError]) -> list[str]:
    """Return the message of every call's error: all must name the address, and none the secret."""
    found = []
    for call in every_call(storage):
        with pytest.raises(expected) as caught:
            call()
        message = str(caught.value)
        assert storage.uri in message
        assert SECRET_KEY not in message
        found.append(message)
    return found


def test_a_bucket_that_is_missing(s3: str) -> None:
    storage = open_storage("s3://no-such-bucket/x")
    for call in every_call(storage):
        with pytest.raises(ObjectNotFoundError, match="s3://no-such-bucket/x"):
            call()
    for call in (lambda: storage.stat("a"), lambda: list(storage.list()), lambda: storage.put("a", b"")):
        with pytest.raises(ObjectNotFoundError, match=r"127\.0\.0\.1:\d+ has no bucket 'no-such-bucket'; create it"):
            call()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_bad_credentials(s3: str, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "wrong-and-secret")
    for message in messages(open_storage(s3), AccessDeniedError):
        assert "check AWS_ACCESS_KEY_ID" in message
        assert "wrong-and-secret" not in message


@pytest.mark.timeout(30)
def test_no_credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, "/nonexistent")
    for message in messages(open_storage(s3), AccessDeniedError):
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in message


def test_a_profile_that_is_missing(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AccessDeniedError, match="AWS_PROFILE"):
        open_storage(s3).read("a")


@pytest.mark.timeout(60)
def test_an_endpoint_that_is_down(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:  # bound, but not listening: no one else can take the port
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://user:{SECRET_KEY}@127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setattr(s3_calls, "PATIENCE", 0)
        for message in messages(open_storage(s3), StorageError):
            assert f"no answer from http://127.0.0.1:{closed.getsockname()[1]}" in message


def test_an_endpoint_that_is_no_url(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost")
    with pytest.raises(BadUsageError, match="AWS_ENDPOINT_URL_S3"):
        open_storage(s3).read("a")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        storage_disk._LocalFile, "__init__", refuse
    )  # a real mode would not stop root, as whom containers run
    with pytest.raises(AccessDeniedError, match=f"{tmp_path}/a: Permission denied"):
        LocalStorage(tmp_path).read("a")
