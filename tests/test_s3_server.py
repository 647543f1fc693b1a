"""The tests' own S3 server says at once what would make every test on it wait for its time limit."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.s3_server import SeaweedFS


def test_a_full_disk_is_said_before_the_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = shutil.disk_usage(tmp_path).total
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=total, free=10**9))
    monkeypatch.setattr("tests.s3_server.FREE_SHARE", 1.5e9 / total)

    with pytest.raises(RuntimeError, match=r"1\.0 of the disk's \d+ GB are free, and SeaweedFS needs 1\.5"):
        SeaweedFS(folder=tmp_path).__enter__()
