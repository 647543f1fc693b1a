"""Servers that speak an older S3: what they refuse is told with the variable, or the server, that helps."""

from typing import Any

import pytest
from botocore import exceptions as aws
from botocore.awsrequest import AWSResponse

from datasets import s3_calls, storage_s3
from datasets.errors import AccessDeniedError, StorageError
from datasets.storage_s3 import S3Storage
from tests.datasets.test_storage import fake, on_send

PUT, GET = "AWS_REQUEST_CHECKSUM_CALCULATION=when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required"


@pytest.fixture(autouse=True)
def no_choice_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (PUT, GET):
        monkeypatch.delenv(name.partition("=")[0], raising=False)


@pytest.fixture
def bucket(s3: str) -> S3Storage:
    return S3Storage(s3.removeprefix("s3://"), s3_calls.make_client())


def refuse(bucket: S3Storage, operation: str, status: int, code: str, message: str, more: str = "") -> None:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode() if code else b""
    on_send(bucket, operation, lambda request: fake(request, status, body))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
        (501, "", ""),
        (400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match"),
        (400, "InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."),
        (400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value."),
        (
            400,
            "InvalidArgument",
            "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value.",
        ),
        (400, "InvalidRequest", "The value of x-amz-trailer is not supported"),
        (400, "MalformedTrailerError", "The request contained trailing data that was not well-formed"),
        (411, "MissingContentLength", "Unknown"),
        (400, "AuthorizationHeaderMalformed", "BadRequest(400)"),
    ],
)
def test_a_put_that_an_older_server_refuses(bucket: S3Storage, status: int, code: str, message: str) -> None:
    refuse(bucket, "PutObject", status, code, message)
    with pytest.raises(StorageError) as refusal:
        bucket.put("a", b"x")
    assert PUT in str(refusal.value)
    assert GET not in str(refusal.value)
    assert bucket.endpoint in str(refusal.value)


def test_a_signature_that_only_puts_get_wrong(bucket: S3Storage) -> None:
    refuse(bucket, "PutObject", 403, "SignatureDoesNotMatch", "as calculated")
    refuse(bucket, "GetObject", 403, "SignatureDoesNotMatch", "as calculated")
    with pytest.raises(AccessDeniedError, match=PUT):
        bucket.put("a", b"x")
    with pytest.raises(AccessDeniedError) as refusal:
        bucket.read("a")
    assert PUT not in str(refusal.value)


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_large_put_that_an_older_server_refuses(
    bucket: S3Storage, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 0)
    refuse(bucket, operation, 501, "NotImplemented", "not implemented")
    with pytest.raises(StorageError, match=PUT):
        bucket.put("a", b"x")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
        (400, "InvalidArgument", "Unsupported header 'x-amz-checksum-mode' received for this API call."),
    ],
)
def test_a_read_that_an_older_server_refuses(bucket: S3Storage, status: int, code: str, message: str) -> None:
    refuse(bucket, "GetObject", status, code, message)
    with pytest.raises(StorageError, match=GET) as refusal:
        bucket.read("a")
    assert PUT not in str(refusal.value)
    on_send(bucket, "HeadObject", lambda request: fake(request, 501, b""))
    with pytest.raises(StorageError, match=GET):
        bucket.stat("a")


def test_a_checksum_that_is_of_something_else(bucket: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def mismatch(answer: Any) -> bytes:
        raise aws.FlexibleChecksumError(error_msg="Expected checksum a did not match calculated checksum: b")

    bucket.put("a", b"x")
    monkeypatch.setattr(storage_s3, "read_in_time", mismatch)
    monkeypatch.setattr(storage_s3, "back_off", lambda attempt: None)
    with pytest.raises(StorageError, match=GET):
        bucket.read("a")


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("A header you provided implies functionality that is not implemented", "<Header>If-None-Match</Header>"),
        ("Header 'if-none-match' not implemented", ""),
    ],
)
def test_a_server_that_refuses_conditions_is_told_from_one_that_refuses_checksums(
    bucket: S3Storage, message: str, more: str
) -> None:
    refuse(bucket, "PutObject", 501, "NotImplemented", message, more)
    with pytest.raises(StorageError, match=r"knows no If-None-Match.*another S3 server") as refusal:
        bucket.put("a", b"x", if_absent=True)
    assert PUT not in str(refusal.value)


def test_other_refusals_say_nothing_of_checksums(bucket: S3Storage) -> None:
    refuse(bucket, "PutObject", 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
    with pytest.raises(StorageError) as refusal:
        bucket.put("a", b"x")
    assert "CHECKSUM" not in str(refusal.value)
    more = "<Region>eu-west-1</Region>"
    refuse(bucket, "GetObject", 400, "AuthorizationHeaderMalformed", "the region is wrong", more)
    with pytest.raises(StorageError, match="AWS_REGION"):
        bucket.read("a")


def test_with_the_variables_an_older_server_is_enough(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def old(request: Any) -> AWSResponse | None:
        text = f"{request.url} {request.headers}".lower()
        if "x-amz-checksum" in text or "x-amz-sdk-checksum" in text or "aws-chunked" in text or "trailer" in text:
            return fake(request, 501, b"<Error><Code>NotImplemented</Code><Message>not implemented</Message></Error>")
        return None

    def storage() -> S3Storage:
        made = S3Storage(s3.removeprefix("s3://"), s3_calls.make_client())
        for operation in ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "GetObject",
                          "HeadObject"):  # fmt: skip
            on_send(made, operation, old)
        return made

    with pytest.raises(StorageError, match=PUT):
        storage().put("a", b"x")
    monkeypatch.setenv(*PUT.split("="))
    storage().put("a", b"x", if_absent=True)
    with pytest.raises(StorageError, match=GET):
        storage().read("a")
    monkeypatch.setenv(*GET.split("="))
    assert storage().read("a") == b"x"
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 0)
    assert storage().put("b", b"y" * 100, if_absent=True).size == 100

    refusing = storage()
    refuse(refusing, "PutObject", 501, "NotImplemented", "not implemented")
    monkeypatch.setattr(storage_s3, "MULTIPART_ABOVE", 64 << 20)
    with pytest.raises(StorageError, match="knows no If-None-Match") as refusal:  # it is set, and does not help
        refusing.put("c", b"x", if_absent=True)
    assert PUT not in str(refusal.value)
