"""Fixtures that more than one folder of tests needs."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from datasets.synthetic import Series, write_series
from jobs.parts.runtime.sandbox import sandbox
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster
from tests.s3_server import SeaweedFS
from tests.untrained import publish_untrained

# Time is no verdict: a busy machine draws and runs examples slowly.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _exported_networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks are exported into a cache of the tests' own, which is that of the processes they start too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[SeaweedFS]:
    """A real S3 server, started once for all tests."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture
def s3(s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty folder of the bucket. The AWS variables of the environment point at the server."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    sandbox().close()  # the next child starts in this environment
    return f"{s3_server.uri}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def cluster(s3_server: SeaweedFS) -> Iterator[RayCluster]:
    """A real Ray cluster whose jobs find the S3 server."""
    with RayCluster(s3_server.environment()) as running:
        yield running


@pytest.fixture(scope="session")
def machine(s3_server: SeaweedFS) -> LocalMachine:
    """This machine without Ray. Its jobs find the S3 server."""
    return LocalMachine(s3_server.environment())


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated series: color/ch01..ch03.cbz and ink/ch01..ch03.cbz, three pages each."""
    folder = tmp_path_factory.mktemp("series")
    write_series(Series(seed=1, chapters=3, pages=3, width=192, height=288), folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model, published as train.py does it, for tests of colouring jobs."""
    folder = tmp_path_factory.mktemp("model")
    publish_untrained(folder, base_channels=4, image_size=64)
    return folder
