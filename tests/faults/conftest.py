"""Clusters whose jobs can be made to die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Faults
from tests.ray_cluster import RayCluster
from tests.untrained import publish_untrained


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest model there is: its colours are not tested here."""
    folder = tmp_path_factory.mktemp("tiny")
    publish_untrained(folder, base_channels=4, image_size=32)
    return folder


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def deadly(faults: Faults) -> Iterator[RayCluster]:
    """A cluster of one node."""
    with RayCluster(faults.environment()) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> None:
    """Faults that one test has planned are removed before the next."""
    if "faults" in request.fixturenames:
        request.getfixturevalue("faults").reset()
