"""Calls to S3: the client, retries, deadlines, and errors turned into our own.

Endpoint, credentials and region come from the usual AWS variables and files; AWS_ENDPOINT_URL_S3 names another server.

A call is tried six times at most (AWS_MAX_ATTEMPTS changes that), by botocore's standard mode: exponential backoff with
full jitter. This outlasts a second or two of lost connections and 5xx, and half a minute of throttling. A server that
is away for longer is asked again for two minutes (not with AWS_MAX_ATTEMPTS set). botocore leaves some failures to its
caller: conflicts between writers, and answers that break off in the middle or hardly flow. Those are tried again here
too.
"""

import itertools
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from datasets.errors import AccessDeniedError, BadUsageError, ObjectNotFoundError, StorageError, UnreachableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

ATTEMPTS = 6
CONNECT_SECONDS = 10
READ_SECONDS = 30  # without a byte
PATIENCE = 120.0  # seconds during which a server that is away is asked again
STALL_SECONDS = 20.0  # an answer may take so long, and more by its size
STALL_RATE = 100_000  # bytes a second
STALLS = 3  # answers that hardly flow before the read fails

_CLIENTS: "dict[object, S3Client]" = {}  # by the environment's AWS variables: making one takes 0.2 s
_CLIENT_LOCK = threading.Lock()  # making one is not safe between threads; using it is
CONDITION_CODES = {"PreconditionFailed", "412"}
_DENIED_CODES = {
    "AccessDenied", "AllAccessDisabled", "AccountProblem", "ExpiredToken", "Forbidden", "InvalidAccessKeyId",
    "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired", "401", "403",
}  # fmt: skip
_REGION_CODES = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_CREDENTIAL_ERRORS = (
    aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, aws.TokenRetrievalError,
    aws.SSOError, aws.ProfileNotFound,
)  # fmt: skip
_BUSY_CODES = {
    "InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "500", "502", "503", "504",
}  # fmt: skip
_PUTS = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
_READS = {"GetObject", "HeadObject"}
_UNKNOWN_HEADER_CODES = {  # what servers that know no checksums answer to them (boto3 sends them since 1.36)
    "NotImplemented", "XAmzContentSHA256Mismatch", "MissingContentLength", "MalformedTrailerError",
    "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "411", "501",
}  # fmt: skip
_NO_CONDITIONS = (
    "; the server knows no If-None-Match, which keeps two jobs apart: use another S3 server, or a newer version"
)
_CHECKSUM_HEADERS = re.compile("x-amz-(sdk-)?checksum|x-amz-content-sha256|x-amz-trailer|aws-chunked", re.IGNORECASE)
BODY_ERRORS = (aws.ReadTimeoutError, aws.ResponseStreamingError, aws.IncompleteReadError, aws.FlexibleChecksumError)

log = logging.getLogger("mangahue")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def patient(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Call again while the server is away or too busy, for PATIENCE seconds.

    Pauses grow to 10 s and are drawn by chance.
    """

    @wraps(method)
    def ask(self: S, /, *arguments: P.args, **options: P.kwargs) -> T:
        deadline = time.monotonic() + (0 if "AWS_MAX_ATTEMPTS" in os.environ else PATIENCE)
        for attempt in itertools.count():
            try:
                return method(self, *arguments, **options)
            except UnreachableError as error:
                pause = random.uniform(0.5, min(10.0, 2.0**attempt))
                if time.monotonic() + pause > deadline:
                    raise
                log.warning("%s; asking again", error)
                time.sleep(pause)
        raise AssertionError("unreachable")

    return ask


class Bucket(Protocol):
    """The bucket that a call is for, named in messages.

    bucket: its name.
    endpoint: the server's address, as far as it is known.
    """

    bucket: str

    @property
    def endpoint(self) -> str: ...


def shared_client() -> "S3Client":
    """Return this process's client for the AWS variables as they are now; threads may share it."""
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _CLIENT_LOCK:
        if environment not in _CLIENTS:
            _CLIENTS[environment] = make_client()
        return _CLIENTS[environment]


def make_client() -> "S3Client":
    """Make a client from the AWS variables.

    Raises BadUsageError where AWS_ENDPOINT_URL_S3 is no URL.
    """
    retries: dict[str, Any] = {"mode": "standard"}
    if "AWS_MAX_ATTEMPTS" not in os.environ:  # botocore reads it by itself if we set nothing
        retries["total_max_attempts"] = ATTEMPTS
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries=retries,  # type: ignore[arg-type]
        max_pool_connections=32,
    )
    region = os.environ.get("AWS_REGION")  # all other AWS kits read it; boto3 reads AWS_DEFAULT_REGION alone
    try:
        return boto3.session.Session(region_name=region).client("s3", config=config)
    except ValueError as error:  # botocore's answer to an endpoint that is no URL
        raise BadUsageError("AWS_ENDPOINT_URL_S3 is no URL: write it as http://host:port") from error


def read_in_time(answer: "GetObjectOutputTypeDef") -> bytes:
    """Return the whole body of an answer.

    An answer that hardly flows is cut off: a timeout between two bytes would not end it.
    """
    raw: Any = answer["Body"]._raw_stream  # type: ignore[attr-defined]  # urllib3's, whose shutdown() another thread may call
    timer = threading.Timer(STALL_SECONDS + answer["ContentLength"] / STALL_RATE, raw.shutdown)
    timer.daemon = True
    timer.start()
    try:
        return answer["Body"].read()
    finally:
        timer.cancel()


def back_off(attempt: int) -> None:
    """Sleep before another attempt: longer from attempt to attempt, up to 20 s, and drawn by chance."""
    time.sleep(random.uniform(0, min(20.0, 0.1 * 2**attempt)))


def code_of(error: aws.ClientError) -> str:
    """Return the error code of an answer; "" without one."""
    return error.response.get("Error", {}).get("Code", "")


def clean(message: object) -> str:
    """Return a message without the user and password that an address in it may have."""
    return re.sub(r"//[^/\s]*@", "//", str(message))  # an endpoint may be written with a password


@contextmanager
def s3_errors(storage: Bucket, uri: str) -> Iterator[None]:
    """Turn botocore's errors into ours; no credential is ever part of a message.

    storage: the bucket that is called.
    uri: the address of the object, for messages.
    """
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
        raise UnreachableError(
            f"{uri}: no answer from {storage.endpoint} ({type(error).__name__}); "
            "see that it is up, and that AWS_ENDPOINT_URL_S3 is right"
        ) from error
    except aws.BotoCoreError as error:
        hint = _without_checksums("RESPONSE_CHECKSUM_VALIDATION") if type(error) is aws.FlexibleChecksumError else ""
        raise StorageError(f"{uri}: {type(error).__name__}: {clean(error)}{hint}") from error


def no_bucket(storage: Bucket, uri: str) -> StorageError:
    """Return the error for a bucket that does not exist."""
    return ObjectNotFoundError(
        f"{uri}: {storage.endpoint} has no bucket {storage.bucket!r}; create it, or correct the address or "
        "AWS_ENDPOINT_URL_S3"
    )


def replaced(uri: str) -> StorageError:
    """Return the error for an object that changed between two reads of it."""
    return StorageError(f"{uri}: the object was replaced while it was read; read it again")


def _explained(error: aws.ClientError, storage: Bucket, uri: str) -> StorageError:
    code = code_of(error)
    if code == "NoSuchBucket":
        return no_bucket(storage, uri)
    if code in ("NoSuchKey", "NotFound", "404"):
        return ObjectNotFoundError(f"{uri}: no such object; check the address")
    if code in _DENIED_CODES:
        return AccessDeniedError(
            f"{uri}: {storage.endpoint} refused the credentials ({code}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and what they may do (without s3:ListBucket a missing object is refused too)"
            + _old_server_hint(error)
        )
    if code in _REGION_CODES:
        return StorageError(
            f"{uri}: for {storage.endpoint} the bucket is in another region ({code}); set AWS_REGION to that one"
            + _old_server_hint(error)
        )
    if code in CONDITION_CODES:
        return replaced(uri)
    message = error.response.get("Error", {}).get("Message", "")
    kind = UnreachableError if code in _BUSY_CODES else StorageError
    hint = _old_server_hint(error)
    return kind(f"{uri}: {error.operation_name} failed at {storage.endpoint}: {code} {clean(message)}{hint}")


def _old_server_hint(error: aws.ClientError) -> str:
    """Return what helps where the server knows a header of the request not; "" where that is not the fault."""
    answer: dict[str, Any] = dict(error.response.get("Error", {}))
    said = f"{answer.get('Message', '')} {answer.get('Header', '')}"
    unknown = code_of(error) in ("NotImplemented", "501")
    if unknown and "if-none-match" in said.lower():
        return _NO_CONDITIONS
    suspected = code_of(error) in _UNKNOWN_HEADER_CODES and "Region" not in answer
    if not suspected and not _CHECKSUM_HEADERS.search(said):
        return ""
    if error.operation_name in _PUTS:
        return _without_checksums("REQUEST_CHECKSUM_CALCULATION") or (_NO_CONDITIONS if unknown else "")
    if error.operation_name in _READS and (unknown or _CHECKSUM_HEADERS.search(said)):
        return _without_checksums("RESPONSE_CHECKSUM_VALIDATION")
    return ""


def _without_checksums(choice: str) -> str:
    """Return the advice to send, or to ask for, no checksums; "" where that is chosen already."""
    variable = f"AWS_{choice}"
    if os.environ.get(variable, "").lower() == "when_required":
        return ""
    return (
        f"; if this server is older than S3's checksums, set {variable}=when_required where `ray start` runs "
        "(docs/operations.md)"
    )
