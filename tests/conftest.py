"""Fixtures that more than one folder of tests needs."""

import uuid
from collections.abc import Iterator

import pytest

from tests.s3_server import SeaweedFS


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    """A real S3 server, started once for all tests."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture
def s3(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty folder of the bucket; the environment's AWS variables point at the server."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"{s3_server.uri}/{uuid.uuid4().hex}"
