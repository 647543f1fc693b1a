"""Fixtures that more than one folder of tests needs."""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import models
from datasets.synthetic import Series, write_series
from models.checkpoint import fingerprint, to_bytes
from tests.ray_cluster import RayCluster
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


@pytest.fixture(scope="session")
def cluster(s3_server: SeaweedFS) -> Iterator[RayCluster]:
    """A real Ray cluster whose jobs find the S3 server."""
    with RayCluster(s3_server.environment()) as running:
        yield running


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated series: color/ch01..ch03.cbz and ink/ch01..ch03.cbz, three pages each."""
    folder = tmp_path_factory.mktemp("series")
    write_series(Series(seed=1, chapters=3, pages=3, width=192, height=288), folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model, published as train.py publishes: what a colouring job needs to be tested."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"base_channels": 4, "image_size": 64})
    weights = to_bytes(variant.generator().state_dict())
    card = {
        "variant": "pix2pix",
        "config": dataclasses.asdict(variant.config),
        "weights_sha256": fingerprint(weights),
        "mean_chroma": [2.0, 8.0],
        "steps": 0,
        "seconds": 0.0,
        "training": {},
    }
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "model.json").write_text(json.dumps(card))
    return folder
