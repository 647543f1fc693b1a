"""A training's stream on Ray: a set that is passed over often is decoded once where it may be kept, else each time."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.page import Page
from datasets.shards import CARD, write_shards
from datasets.storage import open_storage
from jobs.parts.runtime import ROOT
from tests.ray_cluster import RayCluster

PAGES = 3
ON_RAY = """
import collections, sys
from datasets.shards import ShardSet
from jobs.parts.runtime.cluster import connect
connect()
for passes, cache in ((3, 10**6), (3, 10**4), (2, 10**6)):
    stream = ShardSet.open(sys.argv[1]).stream(
        "train", kind="pairs", size=64, target="ab", passes=passes, seed=1, num_cpus=0.5, cache=cache)
    seen = collections.defaultdict(list)
    for row in stream.iter_rows():
        seen[int(row["page"])].append(row["ink"].tobytes())
    print(*(f"{len(inks)}:{len(set(inks))}" for inks in seen.values()))
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Shards of pages whose ink is drawn anew each time that it is decoded."""
    folder = tmp_path_factory.mktemp("shards")
    storage = open_storage(str(folder))
    shades = np.linspace(90, 220, 200 * 140 * 3).reshape(200, 140, 3).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shades).save(out, "PNG")
    pages = [
        Page("s", "c", number, f"{number}.png", None, out.getvalue(), "screentone", 140, 200, "train", "")
        for number in range(PAGES)
    ]
    written = [vars(shard) for shard in write_shards(storage, pages, "train")]
    Path(folder, CARD).write_text(json.dumps({"pages": {"train": PAGES}, "shards": written}))
    return str(folder)


def test_a_stream(cluster: RayCluster, drawn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, drawn], cwd=ROOT, env=cluster.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    often_and_fits, often_and_large, hardly_more_than_once = done.stdout.splitlines()
    assert often_and_fits.split() == ["3:1"] * PAGES  # seen three times, drawn once
    assert often_and_large.split() == ["3:3"] * PAGES
    assert hardly_more_than_once.split() == ["2:2"] * PAGES


MASKS_ON_RAY = """
import sys
from datasets.shards import ShardSet
from jobs.parts.runtime.cluster import connect
connect()
for kind in ("pairs", "ink", "color"):
    for cache in (10**6, 1):
        stream = ShardSet.open(sys.argv[1]).stream(
            "train", kind=kind, size=16, target="ab", passes=3, seed=1, num_cpus=0.5, cache=cache)
        print(kind, *sorted({int(row["mask"].sum()) if "mask" in row else -1 for row in stream.iter_rows()}))
"""


@pytest.mark.parametrize("masked", [True, False])
def test_masks_are_streamed_where_a_set_has_any(cluster: RayCluster, tmp_path: Path, masked: bool) -> None:
    def png(mode: str, level: int) -> bytes:
        out = io.BytesIO()
        Image.new(mode, (32, 48), level).save(out, "PNG")
        return out.getvalue()

    pages = [
        Page("s", "c", number, f"{number}.png", png("L", 90), png("RGB", 90), "source", 32, 48, "train", "")
        for number in range(PAGES)
    ]
    if masked:
        pages[1] = replace(pages[1], mask=png("1", 1))
    storage = open_storage(str(tmp_path))
    written = [vars(shard) for shard in write_shards(storage, pages, "train")]
    storage.put(CARD, json.dumps({"pages": {"train": PAGES}, "shards": written}).encode())
    done = subprocess.run(
        [sys.executable, "-c", MASKS_ON_RAY, storage.uri],
        cwd=ROOT, env=cluster.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [
        f"{kind} {'0 256' if masked else '-1'}" for kind in ("pairs", "ink", "color") for _ in range(2)
    ]
