"""Page shards: written in a stream, named by their content, read back as they were. No Ray is started here."""

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets import shards
from datasets.errors import BadUsageError
from datasets.page import Page, decode
from datasets.shards import CARD, Shard, ShardSet, read_examples, training_example, write_shards
from datasets.storage import Storage, open_storage
from imaging.descreen import network_view
from imaging.screentone import Screen
from imaging.target import CHANNELS

COMPATIBILITY = Path(__file__).parents[1] / "compatibility" / "data"


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty storage of each kind."""
    root = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3")
    return open_storage(f"{root}/shards")


def png(*color: int, size: tuple[int, int] = (20, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB" if len(color) == 3 else "L", size, color if len(color) == 3 else color[0]).save(out, "PNG")
    return out.getvalue()


def page(index: int, *, gray: bytes | None = None, color: bytes | None = None, split: str = "train") -> Page:
    gray_from = "lightness" if gray is None else "source"
    return Page("series", "ep1", index, f"{index}.png", gray, color, gray_from, 20, 30, split, f"ep1/{index}.png")


def finished(storage: Storage, *written: Shard) -> ShardSet:
    """Return the folder as ingest leaves it, its card written last."""
    splits = {split: [shard for shard in written if shard.key.startswith(split)] for split in ("train", "holdout")}
    card = {
        "fingerprint": "f00d",
        "pages": {split: sum(shard.pages for shard in of) for split, of in splits.items()},
        "mean_chroma": [1.5, -2],
        "shards": [shard.__dict__ for shard in written],
    }
    storage.put(CARD, json.dumps(card).encode())
    return ShardSet.open(storage.uri)


def test_pages_come_back_as_they_were(storage: Storage) -> None:
    train = [page(i, gray=bytes([i]) * 100 if i % 2 else None, color=bytes(i) or None) for i in range(1, 9)]
    holdout = [page(0, gray=b"only gray", split="holdout")]
    whole = finished(storage, *write_shards(storage, train, "train"), *write_shards(storage, holdout, "holdout"))
    assert list(whole.read("train")) == train
    assert list(whole.read("holdout")) == holdout
    assert (whole.pages("train"), whole.pages("holdout")) == (8, 1)
    assert whole.mean_chroma == (1.5, -2.0)
    assert whole.fingerprint == "f00d"
    assert [key.split("/")[0] for key in whole.keys("train")] == ["train"]


def test_a_mask_comes_back_and_names_another_shard(tmp_path: Path) -> None:
    def written(folder: str, pages: list[Page]) -> ShardSet:
        storage = open_storage(str(tmp_path / folder))
        return finished(storage, *write_shards(storage, pages, "train"))

    bare = [page(i, color=png(1, 2, 3)) for i in range(3)]
    some = [replace(made, mask=png(255)) if made.index == 1 else made for made in bare]
    other = [replace(made, mask=png(0)) if made.index == 1 else made for made in bare]
    sets = [written(folder, pages) for folder, pages in (("bare", bare), ("some", some), ("other", other))]
    assert [list(each.read("train")) for each in sets] == [bare, some, other]
    assert [each.masked for each in sets] == [False, True, True]
    assert [shard["masked"] for each in sets for shard in each.card["shards"]] == [0, 1, 1]
    assert len({key for each in sets for key in each.keys("train")}) == 3


def test_shards_older_than_the_mask_are_read() -> None:
    old = ShardSet.open(str(COMPATIBILITY / "shards"))
    for split in ("train", "holdout"):
        pages = list(old.read(split))
        assert len(pages) == old.pages(split)
        assert all(made.mask is None and made.color is not None for made in pages)
    with pq.ParquetFile(COMPATIBILITY / "shards" / old.keys("train")[0]) as shard:
        (row, *_) = shard.read().to_pylist()
    assert "mask" not in row
    assert training_example(row, kind="pairs", size=16, target="ab")
    assert not old.masked


def test_splits_at_a_shards_worth(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 250)
    monkeypatch.setattr(shards, "_GROUP_BYTES", 150)
    pages = [page(i, color=bytes([i]) * 100) for i in range(8)]
    written = list(write_shards(storage, iter(pages), "train"))
    assert [shard.pages for shard in written] == [3, 3, 2]
    for shard in written:
        entry = storage.stat(shard.key)
        assert entry is not None
        assert entry.size == shard.size
    assert list(finished(storage, *written).read("train")) == pages


def test_holds_one_shard_at_a_time(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 250)
    taken: list[int] = []

    def source() -> "list[Page]":
        for i in range(100):
            taken.append(i)
            yield page(i, color=bytes(100))  # type: ignore[misc]

    next(iter(write_shards(storage, source(), "train")))
    assert len(taken) == 3


def test_no_pages_no_shard(storage: Storage) -> None:
    assert list(write_shards(storage, [], "train")) == []
    assert list(storage.list()) == []


def test_named_by_content(tmp_path: Path) -> None:
    def key_of(folder: str, *pages: Page) -> str:
        (shard,) = write_shards(open_storage(str(tmp_path / folder)), pages, "train")
        return shard.key

    pages = [page(0, color=b"a"), page(1, gray=b"b")]
    first = key_of("1", *pages)
    assert first.startswith("train/")
    assert key_of("2", *pages) == first
    others = [
        key_of("3", *reversed(pages)),
        key_of("4", pages[0]),
        key_of("5", page(0, color=b"c"), pages[1]),
        key_of("6", page(0, gray=b"a"), pages[1]),
        key_of("7", page(2, color=b"a"), pages[1]),
    ]
    assert len({first, *others}) == 6


def test_unfinished_folder_is_refused(storage: Storage) -> None:
    list(write_shards(storage, [page(0, color=b"a")], "train"))
    with pytest.raises(BadUsageError, match=r"shards\.json"):
        ShardSet.open(storage.uri)


def test_sample_spreads_over_the_split(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    whole = finished(storage, *write_shards(storage, [page(i, color=b"c") for i in range(100)], "train"))
    picked = [sample.index for sample in whole.sample("train", 10)]
    assert 5 < len(picked) <= 10
    assert picked[0] < 10
    assert picked[-1] >= 85
    assert len({b - a for a, b in pairwise(picked)}) == 1
    assert [sample.index for sample in whole.sample("train", 500)] == list(range(100))


@settings(max_examples=25)
@given(colored=st.lists(st.booleans(), min_size=1, max_size=24), limit=st.integers(1, 8))
def test_sample_finds_the_pages_with_colour(
    tmp_path_factory: pytest.TempPathFactory, colored: list[bool], limit: int
) -> None:
    storage = open_storage(str(tmp_path_factory.mktemp("sample")))
    pages = [page(i, color=b"c") if has else page(i, gray=b"g") for i, has in enumerate(colored)]
    picked = finished(storage, *write_shards(storage, pages, "train")).sample("train", limit)
    assert len(picked) <= limit
    assert all(sample.color for sample in picked)
    assert bool(picked) == any(colored)


@pytest.mark.parametrize("target", sorted(CHANNELS))
def test_training_example(target: str) -> None:
    row = page(0, gray=png(40, size=(64, 96)), color=png(200, 30, 30)).__dict__
    (example,) = training_example(row, kind="pairs", size=16, target=target)
    assert example["ink"].shape == (1, 16, 16)
    assert example["ink"].dtype == np.uint8
    assert (example["ink"] == 40).all()  # its own gray edition, whatever its size
    assert example["target"].shape == (CHANNELS[target], 16, 16)


def test_training_example_derives_the_gray_page() -> None:
    row = page(0, color=png(255, 0, 0)).__dict__
    assert (training_example(row, kind="pairs", size=8, target="ab")[0]["ink"] == 127).all()  # L* of sRGB red
    luma = {**row, "gray_from": "luma"}
    assert (training_example(luma, kind="pairs", size=8, target="ab")[0]["ink"] == 76).all()


def dotted(size: tuple[int, int] = (520, 700)) -> bytes:
    """Return a PNG of a page that is one screen of dots."""
    ink = Screen("dot", 4.7, 20.0, (0.0, 0.0)).cover(np.full(size[::-1], 0.4, np.float32))
    out = io.BytesIO()
    Image.fromarray(np.round(255 - 255 * ink).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["pairs", "ink"])
def test_training_sees_pages_as_colouring_does(kind: str) -> None:
    row = page(0, gray=dotted(), color=png(200, 30, 30)).__dict__
    (example,) = training_example(row, kind=kind, size=128, target="ab")
    assert (example["ink"][0] == network_view(decode(dotted())[..., 0], 128)).all()
    assert example["ink"][0, 8:-8, 8:-8].std() < 1.5
    plain = cv2.resize(decode(dotted())[..., 0], (128, 128), interpolation=cv2.INTER_AREA)
    assert plain.std() > 5


@pytest.mark.parametrize("kind", ["pairs", "ink"])
def test_drawn_ink_is_of_the_full_page_and_new_on_each_pass(kind: str) -> None:
    out = io.BytesIO()
    soft = Image.fromarray(np.random.default_rng(0).integers(40, 256, (7, 5, 3), np.uint8))
    soft.resize((600, 840), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    made = replace(page(0, color=out.getvalue()), gray_from="screentone")
    inks = [
        training_example(made.__dict__, kind=kind, size=64, target="ab", draw=draw)[0]["ink"][0] for draw in (5, 5, 6)
    ]
    assert (inks[0] == network_view(made.decode_gray(draw=5), 64)).all()
    assert (inks[0] == inks[1]).all()
    assert np.abs(inks[0].astype(int) - inks[2]).mean() > 3


def test_a_pass_draws_by_its_own_number(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    soft = Image.fromarray(np.random.default_rng(0).integers(40, 256, (7, 5, 3), np.uint8)).resize((60, 80))
    out = io.BytesIO()
    soft.save(out, "PNG")
    made = replace(page(0, color=out.getvalue()), gray_from="screentone")
    (shard,) = write_shards(storage, [made], "train")
    options = {"uri": storage.uri, "kind": "ink", "size": 32, "target": "ab"}
    first, second = read_examples({"reads": json.dumps([(shard.key, 1), (shard.key, 2)])}, **options)
    (again,) = read_examples({"reads": json.dumps([(shard.key, 1)])}, **options)
    assert (first["ink"] == again["ink"]).all()
    assert (first["ink"] != second["ink"]).any()


def test_page_without_colour_is_no_example() -> None:
    assert training_example(page(0, gray=png(40)).__dict__, kind="pairs", size=8, target="ab") == []


@pytest.mark.parametrize("kind", ["ink", "color"])
def test_training_without_pairs_takes_what_a_page_has(kind: str) -> None:
    options = {"kind": kind, "size": 8, "target": "rgb"}
    both = training_example(page(0, gray=png(40), color=png(200, 30, 30)).__dict__, **options)
    gray = training_example(page(0, gray=png(40)).__dict__, **options)
    color = training_example(page(0, color=png(255, 0, 0)).__dict__, **options)

    assert [set(example) for example in both] == [{"ink" if kind == "ink" else "target"}]
    if kind == "ink":
        assert (gray[0]["ink"] == 40).all()
        assert (color[0]["ink"] == 127).all()  # derived
    else:
        assert gray == []
        assert color[0]["target"][:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["pairs", "ink", "color"])
def test_an_example_of_a_set_with_masks_has_one(kind: str) -> None:
    drawn = np.zeros((40, 20), np.uint8)
    drawn[:10] = 255
    out = io.BytesIO()
    Image.fromarray(drawn).convert("1").save(out, "PNG")
    bare = page(0, gray=png(40), color=png(200, 30, 30))
    options = {"kind": kind, "size": 8, "target": "ab"}
    (with_mask,) = training_example(replace(bare, mask=out.getvalue()).__dict__, **options, masked=True)
    (without,) = training_example(bare.__dict__, **options, masked=True)
    (plain,) = training_example(replace(bare, mask=out.getvalue()).__dict__, **options)
    assert with_mask["mask"].shape == without["mask"].shape == (1, 8, 8)
    assert with_mask["mask"].dtype == without["mask"].dtype == np.uint8
    assert with_mask["mask"][0].tolist() == [[1] * 8] * 2 + [[0] * 8] * 6
    assert not without["mask"].any()
    assert "mask" not in plain


@pytest.mark.parametrize("gray_from", ["lightness", "none"])
def test_each_training_takes_what_it_can_from_one_set(tmp_path: Path, gray_from: str) -> None:
    """Pairs for the ones, all pages for those without pairs; ink is derived only where a row says so."""
    storage = open_storage(str(tmp_path))
    pages = [
        page(0, gray=png(40), color=png(200, 30, 30)),
        page(1, gray=png(50)),
        page(2, gray=png(60)),
        replace(page(3, color=png(30, 200, 30)), gray_from=gray_from),
    ]
    whole = finished(storage, *write_shards(storage, pages, "train"))
    taken = {
        kind: [made.index for made in pages if training_example(vars(made), kind=kind, size=8, target="rgb")]
        for kind in shards.KINDS
    }
    derived = [3] if gray_from == "lightness" else []
    assert taken == {"pairs": [0, *derived], "ink": [0, 1, 2, *derived], "color": [0, 3]}
    assert {kind: whole.examples("train", kind) for kind in taken} == {kind: len(of) for kind, of in taken.items()}
    assert [made.index for made in whole.sample("train", 9)] == taken["pairs"]


def test_older_shards_are_taken_to_give_examples_of_each_kind() -> None:
    old = ShardSet.open(str(COMPATIBILITY / "shards"))
    assert {kind: old.examples("train", kind) for kind in shards.KINDS} == dict.fromkeys(
        shards.KINDS, old.pages("train")
    )


@pytest.mark.parametrize(
    ("kind", "lacking", "told"),
    [
        ("pairs", {"gray": png(40)}, "with ink and colours: train --variant cyclegan"),
        ("ink", {"color": png(1, 2, 3)}, "with ink: ingest --gray"),
        ("color", {"gray": png(40)}, "with colours: ingest --color"),
    ],
)
def test_a_set_that_lacks_what_a_training_takes(tmp_path: Path, kind: str, lacking: dict, told: str) -> None:
    storage = open_storage(str(tmp_path))
    whole = finished(storage, *write_shards(storage, [replace(page(0, **lacking), gray_from="none")], "train"))
    with pytest.raises(BadUsageError, match=f"holds no train page {told}"):
        whole.stream("train", kind=kind, size=8, target="ab", passes=1, seed=0, num_cpus=1, cache=0)
