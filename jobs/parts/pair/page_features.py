"""The features of every picture, found once and kept as Parquet beside the shards."""

import io
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets.errors import MangahueError
from datasets.page import decode_plain
from datasets.storage import Storage, open_storage
from imaging.local_features import Features, find_features
from jobs.parts.pair.pictures import POLICY, PictureGroup, digest_of, fetched
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.failure import Failure

HOME = "_pairs"  # in the shard folder: what a rerun takes up
_MADE = "features 1"  # raised where the same picture gives other features
_FAILURES = "failures"
_KEPT = 64  # pictures whose features a process holds
Kept = tuple[str, int]  # where a picture's features are: the Parquet file, and the row group in it
_SCHEMA = pa.schema(
    [
        ("number", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("points", pa.binary()),
        ("scales", pa.binary()),
        ("descriptors", pa.binary()),
        ("view", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Found:
    """What a group's features were found in.

    key: of the Parquet file, in the shard folder; a row group for each picture.
    numbers: of the group's pictures that could be read; the i-th has the i-th row group.
    sizes: (width, height) of each of these.
    failures: of the others.
    """

    key: str
    numbers: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    failures: tuple[Failure, ...]


def find_group(group: PictureGroup, *, out: str) -> Found:
    """Find the features of a group's pictures and put them beside the shards, unless they are there.

    Where storage failed, what was read is put under a name of its own, and the next run tries again.
    """
    storage, name = open_storage(out), f"{HOME}/features/{group.digest(_MADE)}"
    if storage.stat(f"{name}.parquet") is not None:
        return _read_found(storage, f"{name}.parquet")
    rows, failures = [], []
    for number, member in enumerate(group.members):
        source = f"{group.ref.uri}/{member.name}"
        try:
            data = fetched(group.ref, member)
        except MangahueError as error:
            failures.append(Failure.of(source, error, fetching=True))
            continue
        try:
            rows.append(_row(number, sandbox().call(features_of, data, seconds=POLICY.limits.seconds)))
        except MangahueError as error:
            failures.append(Failure.of(source, error))
    whole = all(failure.final for failure in failures)
    key = f"{name}.parquet" if whole else f"{name}-{digest_of([row['number'] for row in rows])}.parquet"
    storage.put(key, _packed(rows, failures))
    sizes = tuple((row["width"], row["height"]) for row in rows)
    return Found(key, tuple(row["number"] for row in rows), sizes, tuple(failures))


def features_of(data: bytes) -> Features:
    """The features of an encoded picture. Raises PageUnreadableError."""
    return find_features(decode_plain(data))


def _row(number: int, features: Features) -> dict[str, Any]:
    return {
        "number": number,
        "width": features.size[0],
        "height": features.size[1],
        "points": features.points.tobytes(),
        "scales": features.scales.tobytes(),
        "descriptors": features.descriptors.tobytes(),
        "view": cv2.imencode(".png", features.view)[1].tobytes(),
    }


def _packed(rows: list[dict[str, Any]], failures: list[Failure]) -> bytes:
    listed = {_FAILURES: json.dumps([asdict(failure) for failure in failures])}
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=_SCHEMA.with_metadata(listed))
    with pq.ParquetWriter(out, table.schema, compression="none") as writer:
        for number in range(len(rows)):
            writer.write_table(table.slice(number, 1), row_group_size=1)
    return out.getvalue()


def _read_found(storage: Storage, key: str) -> Found:
    with storage.open(key) as file, pq.ParquetFile(file) as table:
        listed = json.loads((table.schema_arrow.metadata or {})[_FAILURES.encode()])
        rows = table.read(columns=["number", "width", "height"]).to_pylist() if table.num_row_groups else []
    sizes = tuple((row["width"], row["height"]) for row in rows)
    return Found(key, tuple(row["number"] for row in rows), sizes, tuple(Failure(**failure) for failure in listed))


@lru_cache(maxsize=_KEPT)
def load_features(out: str, key: str, row: int) -> Features:
    """The features of one picture.

    out: URI of the shard folder.
    key, row: of `Found`: the file, and the picture's row group in it.
    """
    with open_storage(out).open(key) as file, pq.ParquetFile(file) as table:
        (values,) = table.read_row_group(row).to_pylist()
    return Features(
        (values["width"], values["height"]),
        np.frombuffer(values["points"], np.float32).reshape(-1, 2),
        np.frombuffer(values["scales"], np.float32),
        np.frombuffer(values["descriptors"], np.uint8).reshape(-1, 128),
        np.asarray(cv2.imdecode(np.frombuffer(values["view"], np.uint8), cv2.IMREAD_GRAYSCALE)),
    )
