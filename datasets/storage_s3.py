"""Storage on S3, and on servers that speak it.

This module decides what is called, and when; datasets/s3_calls.py says how.
"""

import errno
import io
import math
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

import pyarrow.fs
from botocore import exceptions as aws

from datasets.errors import BadUsageError, ObjectExistsError, ObjectNotFoundError
from datasets.s3_calls import (
    ATTEMPTS,
    BODY_ERRORS,
    CONDITION_CODES,
    CONNECT_SECONDS,
    READ_SECONDS,
    STALLS,
    back_off,
    clean,
    code_of,
    patient,
    read_in_time,
    replaced,
    s3_errors,
    shared_client,
)
from datasets.storage import TEMP_PREFIX, Entry, Refused, Storage, check_key, check_prefix, check_range, open_source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

MIB = 1 << 20
MULTIPART_ABOVE = 64 * MIB
PART_BYTES = 16 * MIB
MAX_PARTS = 10_000  # S3's own limit, like the next one
MAX_KEY_BYTES = 1024
BLOCK_BYTES = MIB  # an open object is read by blocks, eight of them kept
CACHED_BLOCKS = 8
TOKEN_KEY = "put-token"  # metadata by which a put recognises its own object

_CONFLICT_CODES = {"ConditionalRequestConflict", "OperationAborted"}
_LOST_CODES = CONDITION_CODES | {"NoSuchUpload"}


class S3Storage(Storage):
    """A prefix of an S3 bucket, or of a server that speaks S3 and honours If-None-Match."""

    def __init__(self, location: str, client: "S3Client | None" = None) -> None:
        """Take a prefix of a bucket as storage; nothing is contacted.

        location: 'bucket' or 'bucket/prefix'.
        client: the one to use; by default this process's own.
        """
        self.bucket, slash, prefix = location.partition("/")
        self._root = prefix + slash  # '' or 'prefix/'
        self.uri = f"s3://{location}"
        self._client = client
        self._bucket_seen = False

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}  # a client holds locks, sockets and credentials

    @property
    def client(self) -> "S3Client":
        """The boto3 client, made from the environment at first use."""
        if self._client is None:
            with self._errors():
                self._client = shared_client()
        return self._client

    @property
    def endpoint(self) -> str:
        """The server's address, without a password that it may contain."""
        return clean(self._client.meta.endpoint_url) if self._client else "S3"

    def list(self, prefix: str = "", refused: Refused | None = None) -> Iterator[Entry]:
        check_prefix(prefix)
        more: dict[str, Any] = {}
        while True:
            page = self._list_page(prefix, more)
            for item in page.get("Contents", []):
                key = item["Key"][len(self._root) :]
                name = key.rpartition("/")[2]  # '' for the empty objects that consoles leave as folders
                if name and not name.startswith(TEMP_PREFIX):
                    yield Entry(key, item["Size"], item["ETag"].strip('"'), item["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    @patient
    def _list_page(self, prefix: str, more: dict[str, Any]) -> "ListObjectsV2OutputTypeDef":
        with self._errors(prefix):
            return self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._root + prefix, **more)

    def stat(self, key: str) -> Entry | None:
        try:
            head = self._head(key)
        except ObjectNotFoundError:
            self._require_bucket()  # a HEAD does not say which of the two is missing
            return None
        return Entry(key, head["ContentLength"], head["ETag"].strip('"'), head["LastModified"].timestamp())

    def metadata(self, key: str) -> dict[str, str]:
        return {name: value for name, value in self._head(key)["Metadata"].items() if name != TOKEN_KEY}

    def read(self, key: str) -> bytes:
        return self._fetch(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        return self._fetch(key, Range=f"bytes={start}-{start + length - 1}") if length else b""

    def open(self, key: str) -> BinaryIO:
        entry = self.stat(key)
        if entry is None:
            raise ObjectNotFoundError(f"{self.uri}/{key}: no such object")

        def fetch(start: int, length: int) -> bytes:
            return self._fetch(key, Range=f"bytes={start}-{start + length - 1}", IfMatch=entry.version)

        return cast(BinaryIO, io.BufferedReader(_BlockReader(entry.size, fetch), 64 * 1024))

    def put(
        self,
        key: str,
        data: bytes | Path,
        *,
        if_absent: bool = False,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Entry:
        described: dict[str, Any] = {"Metadata": {**(metadata or {}), TOKEN_KEY: uuid.uuid4().hex}}
        if content_type is not None:
            described["ContentType"] = content_type
        return self._put(key, data, described, if_absent)

    @patient
    def _put(self, key: str, data: bytes | Path, described: dict[str, Any], if_absent: bool) -> Entry:
        target: dict[str, Any] = {"Bucket": self.bucket, "Key": self._key(key)}
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        with self._errors(key), open_source(data) as (source, size):
            for attempt in range(ATTEMPTS):
                source.seek(0)
                try:
                    if size > MULTIPART_ABOVE:
                        version = self._put_parts(target, source, size, described, condition)
                    else:
                        version = self.client.put_object(**target, **described, **condition, Body=source)["ETag"]
                    return Entry(key, size, version.strip('"'))
                except aws.ClientError as error:
                    code = code_of(error)
                    if code in _LOST_CODES and (ours := self._ours(key, described["Metadata"])):
                        return ours  # our own first try had won, and only its answer was lost
                    if if_absent and code in CONDITION_CODES:
                        raise ObjectExistsError(
                            f"{self.uri}/{key}: something is there already, and it was kept"
                        ) from error
                    if code not in _CONFLICT_CODES or attempt == ATTEMPTS - 1:
                        raise
                    back_off(attempt)
        raise AssertionError("unreachable")

    def careless(self) -> BadUsageError:
        return BadUsageError(
            f"{self.uri}: {self.endpoint} ignores If-None-Match: it overwrote an object that it had to keep. Nothing "
            "keeps two jobs, or two workers of one job, apart; use another S3 server, or a version of this one that "
            "honours the header (to run one job at a time is not enough)"
        )

    @patient
    def delete(self, key: str) -> None:
        target = self._key(key)
        with self._errors(key):
            self.client.delete_object(Bucket=self.bucket, Key=target)

    @patient
    def abort_stale_uploads(self, older_than: timedelta, finished: Collection[str] = ()) -> int:
        ended = {self._root + key for key in finished}
        limit, aborted = datetime.now(UTC) - older_than, 0
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self._root)
        with self._errors():
            uploads = [upload for page in pages for upload in page.get("Uploads", [])]
            for upload in uploads:
                if upload["Initiated"] > limit and upload["Key"] not in ended:
                    continue
                try:
                    self.client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    aborted += 1
                except self.client.exceptions.NoSuchUpload:
                    pass  # completed, or aborted by another process
        return aborted

    def child(self, prefix: str) -> "S3Storage":
        return S3Storage(f"{self.bucket}/{self._key(prefix.removesuffix('/'))}", self.client)

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        meta = self.client.meta
        endpoint = urlsplit(meta.endpoint_url)  # a bare S3FileSystem ignores the variables that boto3 has just read
        own_server = not re.search(r"\.amazonaws\.com(\.cn)?$", endpoint.hostname or "")
        where = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if own_server else {}
        files = pyarrow.fs.S3FileSystem(
            region=meta.region_name,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=2 * READ_SECONDS,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=2 * ATTEMPTS),
            **where,
        )
        return files, self.uri.removeprefix("s3://")

    def _key(self, key: str) -> str:
        full = self._root + check_key(key)
        try:
            size = len(full.encode())
        except UnicodeEncodeError:
            raise BadUsageError(f"{key!r} is no text, and S3's keys must be: rename the file to valid UTF-8") from None
        if size > MAX_KEY_BYTES:
            raise BadUsageError(
                f"{key!r} has {size} bytes with its prefix, and S3 allows {MAX_KEY_BYTES}: shorten the name"
            )
        return full

    def _errors(self, key: str = "") -> AbstractContextManager[None]:
        return s3_errors(self, f"{self.uri}/{key}" if key else self.uri)

    @patient
    def _head(self, key: str) -> "HeadObjectOutputTypeDef":
        target = self._key(key)
        with self._errors(key):
            return self.client.head_object(Bucket=self.bucket, Key=target)

    @patient
    def _require_bucket(self) -> None:
        if self._bucket_seen:
            return
        with self._errors():  # a listing: rights that end at a prefix do not reach a HEAD of the bucket
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._root, MaxKeys=1)
        self._bucket_seen = True

    @patient
    def _fetch(self, key: str, /, **options: Any) -> bytes:
        target = self._key(key)
        with self._errors(key):
            for attempt in range(STALLS):
                try:
                    answer = self.client.get_object(Bucket=self.bucket, Key=target, **options)
                except aws.ClientError as error:
                    if code_of(error) in ("InvalidRange", "416"):
                        return b""  # it starts beyond the end
                    raise
                if "IfMatch" in options and options["IfMatch"] != answer["ETag"].strip('"'):  # the server ignored it
                    raise replaced(f"{self.uri}/{key}")
                try:
                    return read_in_time(answer)
                except BODY_ERRORS:
                    if attempt == STALLS - 1:
                        raise
                    back_off(attempt)
        raise AssertionError("unreachable")

    def _put_parts(
        self, target: dict[str, Any], source: BinaryIO, size: int, described: dict[str, Any], condition: dict[str, Any]
    ) -> str:
        """Upload by parts and return the ETag.

        It is done by hand, since boto3's transfer manager knows no IfNoneMatch.
        """
        settings: Any = self.client.meta.config
        checked = settings.request_checksum_calculation == "when_supported"
        checksum: dict[str, Any] = {"ChecksumAlgorithm": "CRC32"} if checked else {}
        started = self.client.create_multipart_upload(**target, **described, **checksum)
        upload = {**target, "UploadId": started["UploadId"]}
        part_bytes = max(PART_BYTES, math.ceil(size / MAX_PARTS))
        parts: list[Any] = []
        try:
            while chunk := source.read(part_bytes):
                answer = self.client.upload_part(**upload, PartNumber=len(parts) + 1, Body=chunk)
                part = {
                    "PartNumber": len(parts) + 1,
                    "ETag": answer["ETag"],
                    "ChecksumCRC32": answer.get("ChecksumCRC32"),
                }
                parts.append({name: value for name, value in part.items() if value is not None})
            done = self.client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(aws.BotoCoreError, aws.ClientError):  # if this fails too, abort_stale_uploads finds it
                self.client.abort_multipart_upload(**upload)
            raise
        return done["ETag"]

    def _ours(self, key: str, metadata: Mapping[str, str]) -> Entry | None:
        """Return the object at `key` if this very put wrote it."""
        try:
            head = self._head(key)
        except ObjectNotFoundError:
            return None
        kept = head["Metadata"]
        if kept.get(TOKEN_KEY) != metadata[TOKEN_KEY] or kept.get("sha256") != metadata.get("sha256"):
            return None
        return Entry(key, head["ContentLength"], head["ETag"].strip('"'))


class _BlockReader(io.RawIOBase):
    """A seekable stream over ranged reads of whole blocks.

    Thanks to the blocks, zipfile's many small reads cost few requests.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError(errno.EINVAL, "seek before the start")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        first, offset = divmod(self._position, BLOCK_BYTES)
        data = self._block(first, math.ceil((offset + wanted) / BLOCK_BYTES))[offset : offset + wanted]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _block(self, first: int, count: int) -> bytes:
        """Return the block `first`.

        If it isn't at hand, one request fetches it and those after it, `count` in all.
        """
        if first not in self._blocks:
            data = self._fetch(first * BLOCK_BYTES, min(count, CACHED_BLOCKS) * BLOCK_BYTES)
            for start in range(0, len(data), BLOCK_BYTES):
                self._blocks[first + start // BLOCK_BYTES] = data[start : start + BLOCK_BYTES]
            while len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(first)
        return self._blocks[first]
