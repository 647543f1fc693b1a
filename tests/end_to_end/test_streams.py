"""A training's stream on Ray: a set that is passed over often is decoded once where it may be kept, else each time."""

import io
import json
import subprocess
import sys
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
