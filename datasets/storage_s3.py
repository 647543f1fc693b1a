"""Storage on S3, and on servers that speak it: the one place that knows boto3.

Endpoint, credentials and region come from the usual AWS variables and files; AWS_ENDPOINT_URL_S3 names another server.

A call is tried six times at most (AWS_MAX_ATTEMPTS changes that) by botocore's standard mode: exponential backoff with
full jitter, which rides out a second or two of lost connections and 5xx, half a minute of throttling. Conflicts between
writers and answers that break off in the middle, which botocore leaves to its caller, are tried again here likewise.
"""

import errno
import io
import math
import os
import random
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from botocore import exceptions as aws
from botocore.config import Config

from datasets.errors import AccessDeniedError, BadUsageError, ObjectExistsError, ObjectNotFoundError, StorageError
from datasets.storage import TEMP_PREFIX, Entry, Storage, check_key, check_prefix, check_range, open_source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

MIB = 1 << 20
MULTIPART_ABOVE = 64 * MIB
PART_BYTES = 16 * MIB
MAX_PARTS = 10_000  # S3's own limit, as is the next
MAX_KEY_BYTES = 1024
BLOCK_BYTES = MIB  # an open object is read by blocks, eight of them kept
CACHED_BLOCKS = 8
ATTEMPTS = 6
CONNECT_SECONDS = 10
READ_SECONDS = 60
TOKEN_KEY = "put-token"  # metadata by which a put knows its own object again

_CLIENTS: "dict[object, S3Client]" = {}  # by the environment's AWS variables: making one takes 0.2 s
_CLIENT_LOCK = threading.Lock()  # making one is not safe between threads; using it is
_CONDITION_CODES = {"PreconditionFailed", "412"}
_CONFLICT_CODES = {"ConditionalRequestConflict", "OperationAborted"}
_LOST_CODES = _CONDITION_CODES | {"NoSuchUpload"}
_DENIED_CODES = {
    "AccessDenied", "AllAccessDisabled", "AccountProblem", "ExpiredToken", "Forbidden", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired", "401", "403",
}  # fmt: skip
_REGION_CODES = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_CREDENTIAL_ERRORS = (
    aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.TokenRetrievalError,
    aws.SSOError, aws.ProfileNotFound,
)  # fmt: skip
_BODY_ERRORS = (aws.ReadTimeoutError, aws.ResponseStreamingError, aws.IncompleteReadError, aws.FlexibleChecksumError)


class S3Storage(Storage):
    """A prefix of an S3 bucket, or of a server that speaks S3 and honours If-None-Match."""

    def __init__(self, place: str, client: "S3Client | None" = None) -> None:
        """place: 'bucket' or 'bucket/prefix'. client: the one to use; by default this process's own."""
        self.bucket, slash, prefix = place.partition("/")
        self._root = prefix + slash  # '' or 'prefix/'
        self.uri = f"s3://{place}"
        self._client = client
        self._bucket_seen = False

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}  # a client holds locks, sockets and credentials

    @property
    def client(self) -> "S3Client":
        """boto3's client, made from the environment at first use."""
        if self._client is None:
            with self._errors():
                self._client = _shared_client()
        return self._client

    def list(self, prefix: str = "") -> Iterator[Entry]:
        check_prefix(prefix)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._root + prefix)
        with self._errors(prefix):
            for page in pages:
                for item in page.get("Contents", []):
                    key = item["Key"][len(self._root) :]
                    name = key.rpartition("/")[2]  # '' for the empty objects that consoles leave as folders
                    if name and not name.startswith(TEMP_PREFIX):
                        yield Entry(key, item["Size"], item["ETag"].strip('"'))

    def stat(self, key: str) -> Entry | None:
        try:
            head = self._head(key)
        except ObjectNotFoundError:
            self._require_bucket()  # a HEAD does not say which of the two is missing
            return None
        return Entry(key, head["ContentLength"], head["ETag"].strip('"'))

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
        target: dict[str, Any] = {"Bucket": self.bucket, "Key": self._key(key)}
        token = uuid.uuid4().hex
        described: dict[str, Any] = {"Metadata": {**(metadata or {}), TOKEN_KEY: token}}
        if content_type is not None:
            described["ContentType"] = content_type
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
                    code = _code(error)
                    if code in _LOST_CODES and (ours := self._ours(key, token, metadata or {})):
                        return ours  # our own first try had won, and its answer was lost on the way
                    if if_absent and code in _CONDITION_CODES:
                        raise ObjectExistsError(
                            f"{self.uri}/{key}: something is there already, and it was kept"
                        ) from error
                    if code not in _CONFLICT_CODES or attempt == ATTEMPTS - 1:
                        raise
                    _back_off(attempt)
        raise AssertionError("unreachable")

    def delete(self, key: str) -> None:
        target = self._key(key)
        with self._errors(key):
            self.client.delete_object(Bucket=self.bucket, Key=target)

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        limit, aborted = datetime.now(UTC) - older_than, 0
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=self._root)
        with self._errors():
            stale = [upload for page in pages for upload in page.get("Uploads", []) if upload["Initiated"] <= limit]
            for upload in stale:
                try:
                    self.client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    aborted += 1
                except self.client.exceptions.NoSuchUpload:
                    pass  # finished, or aborted by another
        return aborted

    def child(self, prefix: str) -> "S3Storage":
        return S3Storage(f"{self.bucket}/{self._key(prefix.removesuffix('/'))}", self.client)

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        meta = self.client.meta
        endpoint = urlsplit(meta.endpoint_url)  # a bare S3FileSystem ignores the variables that boto3 has just read
        own_server = not re.search(r"\.amazonaws\.com(\.cn)?$", endpoint.hostname or "")
        where = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if own_server else {}
        files = pyarrow.fs.S3FileSystem(
            region=meta.region_name, connect_timeout=CONNECT_SECONDS, request_timeout=READ_SECONDS, **where
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
        return _s3_errors(self, f"{self.uri}/{key}" if key else self.uri)

    def _head(self, key: str) -> "HeadObjectOutputTypeDef":
        target = self._key(key)
        with self._errors(key):
            return self.client.head_object(Bucket=self.bucket, Key=target)

    def _require_bucket(self) -> None:
        if self._bucket_seen:
            return
        with self._errors():  # a listing: rights that end at a prefix do not reach a HEAD of the bucket
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._root, MaxKeys=1)
        self._bucket_seen = True

    def _fetch(self, key: str, **options: Any) -> bytes:
        target = self._key(key)
        with self._errors(key):
            for attempt in range(ATTEMPTS):
                try:
                    body = self.client.get_object(Bucket=self.bucket, Key=target, **options)["Body"]
                except aws.ClientError as error:
                    if _code(error) in ("InvalidRange", "416"):
                        return b""  # it starts beyond the end
                    raise
                try:
                    return body.read()
                except _BODY_ERRORS:
                    if attempt == ATTEMPTS - 1:
                        raise
                    _back_off(attempt)
        raise AssertionError("unreachable")

    def _put_parts(
        self, target: dict[str, Any], source: BinaryIO, size: int, described: dict[str, Any], condition: dict[str, Any]
    ) -> str:
        """A multipart upload; returns the ETag. By hand: boto3's transfer manager knows no IfNoneMatch."""
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

    def _ours(self, key: str, token: str, metadata: Mapping[str, str]) -> Entry | None:
        """The object at `key` if it is the one that this very put wrote."""
        try:
            head = self._head(key)
        except ObjectNotFoundError:
            return None
        kept = head["Metadata"]
        if kept.get(TOKEN_KEY) != token or kept.get("sha256") != metadata.get("sha256"):
            return None
        return Entry(key, head["ContentLength"], head["ETag"].strip('"'))


class _BlockReader(io.RawIOBase):
    """A seekable stream over ranged reads of whole blocks, so that zipfile's many small reads cost few requests."""

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
        """The block `first`; if it isn't at hand, it and those after it, `count` in all, are fetched in one request."""
        if first not in self._blocks:
            data = self._fetch(first * BLOCK_BYTES, min(count, CACHED_BLOCKS) * BLOCK_BYTES)
            for start in range(0, len(data), BLOCK_BYTES):
                self._blocks[first + start // BLOCK_BYTES] = data[start : start + BLOCK_BYTES]
            while len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(first)
        return self._blocks[first]


def _shared_client() -> "S3Client":
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _CLIENT_LOCK:
        if environment not in _CLIENTS:
            _CLIENTS[environment] = _make_client()
        return _CLIENTS[environment]


def _make_client() -> "S3Client":
    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:  # botocore reads it by itself, if we leave the place empty
        retries["total_max_attempts"] = ATTEMPTS
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries=retries,  # type: ignore[arg-type]
        max_pool_connections=32,
    )
    region = os.environ.get("AWS_REGION")  # as all other AWS kits do; boto3 reads AWS_DEFAULT_REGION alone
    try:
        return boto3.session.Session(region_name=region).client("s3", config=config)
    except ValueError as error:  # botocore's answer to an endpoint that is no URL
        raise BadUsageError("AWS_ENDPOINT_URL_S3 is no URL: write it as http://host:port") from error


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, min(20.0, 0.1 * 2**attempt)))


def _code(error: aws.ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _endpoint(storage: S3Storage) -> str:
    return _clean(storage._client.meta.endpoint_url) if storage._client else "S3"


def _clean(message: object) -> str:
    return re.sub(r"//[^/\s]*@", "//", str(message))  # an endpoint may be written with a password


@contextmanager
def _s3_errors(storage: S3Storage, uri: str) -> Iterator[None]:
    """Turn botocore's errors into ours. No credential is ever part of a message."""
    try:
        yield
    except aws.ClientError as error:
        raise _explained(error, storage, uri) from error
    except _CREDENTIAL_ERRORS as error:
        raise AccessDeniedError(
            f"{uri}: no usable credentials ({type(error).__name__}); "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except (aws.ParamValidationError, aws.InvalidRegionError) as error:
        raise BadUsageError(f"{uri}: {error}") from error
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise StorageError(
            f"{uri}: no answer from {_endpoint(storage)} ({type(error).__name__}); "
            "see that it is up, and that AWS_ENDPOINT_URL_S3 is right"
        ) from error
    except aws.BotoCoreError as error:
        raise StorageError(f"{uri}: {type(error).__name__}: {_clean(error)}") from error


def _no_bucket(storage: S3Storage, uri: str) -> StorageError:
    return ObjectNotFoundError(
        f"{uri}: {_endpoint(storage)} has no bucket {storage.bucket!r}; create it, or correct the address or "
        "AWS_ENDPOINT_URL_S3"
    )


def _explained(error: aws.ClientError, storage: S3Storage, uri: str) -> StorageError:
    code = _code(error)
    if code == "NoSuchBucket":
        return _no_bucket(storage, uri)
    if code in ("NoSuchKey", "NotFound", "404"):
        return ObjectNotFoundError(f"{uri}: no such object; check the address")
    if code in _DENIED_CODES:
        return AccessDeniedError(
            f"{uri}: {_endpoint(storage)} refused the credentials ({code}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and what they may do (without s3:ListBucket a missing object is refused too)"
        )
    if code in _REGION_CODES:
        return StorageError(f"{uri}: the bucket is in another region ({code}); set AWS_REGION to that one")
    if code in _CONDITION_CODES:
        return StorageError(f"{uri}: the object was replaced while it was read; read it again")
    message = error.response.get("Error", {}).get("Message", "")
    return StorageError(f"{uri}: {error.operation_name} failed at {_endpoint(storage)}: {code} {_clean(message)}")
