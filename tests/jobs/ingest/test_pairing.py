"""Which chapters and pages of two editions belong together."""

import io
import random
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.archive import ChapterRef
from datasets.chapters import Member, open_chapter
from datasets.errors import BadUsageError
from jobs.parts.ingest.pairing import Edition, find_editions, pair_editions, pair_pages
from jobs.parts.source.holdout import held_out


def members(*names: str) -> list[Member]:
    return [Member(name, 1, index) for index, name in enumerate(names)]


def named(pairs: list[tuple[Member | None, Member | None]]) -> list[tuple[str | None, str | None]]:
    return [(color and color.name, gray and gray.name) for color, gray in pairs]


def editions(*rels: str) -> list[Edition]:
    return [Edition(ChapterRef("/r", rel, rel, "zip" if rel.endswith(".cbz") else "folder", 1, "v")) for rel in rels]


def tree(folder: Path, *files: str) -> str:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return str(folder)


def chapters_of(color: list[Edition], gray: list[Edition]) -> list[tuple[str | None, str | None]]:
    return [(c and c.rel, g and g.rel) for c, g in pair_editions(color, gray)]


def test_pages_pair_across_extensions() -> None:
    pairs = pair_pages(members("a/1.jpg", "a/2.png", "b/1.webp"), members("b/1.png", "a/1.png", "a/2.png"))
    assert named(pairs) == [("a/1.jpg", "a/1.png"), ("a/2.png", "a/2.png"), ("b/1.webp", "b/1.png")]


def test_pages_pair_by_number_where_folders_differ() -> None:
    pairs = pair_pages(members("colour/001.jpg", "colour/002.jpg"), members("ep1_1.png", "ep1_02.png"))
    assert named(pairs) == [("colour/001.jpg", "ep1_1.png"), ("colour/002.jpg", "ep1_02.png")]


def test_pages_without_a_partner_are_kept_on_both_sides() -> None:
    pairs = pair_pages(members("1.jpg", "cover.jpg"), members("1.png", "back.png"))
    assert named(pairs) == [("1.jpg", "1.png"), ("cover.jpg", None), (None, "back.png")]


def test_ambiguous_gray_pages_are_not_paired() -> None:
    pairs = pair_pages(members("1.jpg"), members("a/1.png", "b/1.png"))
    assert named(pairs) == [("1.jpg", None), (None, "a/1.png"), (None, "b/1.png")]


def test_ambiguous_colour_pages_are_not_paired() -> None:
    pairs = pair_pages(members("a/1.png", "b/1.png"), members("1.jpg"))
    assert named(pairs) == [("a/1.png", None), ("b/1.png", None), (None, "1.jpg")]


def test_names_equal_but_for_extensions_are_ambiguous_too() -> None:
    pairs = dict(named(pair_pages(members("1.jpg"), members("1.jpg", "1.webp"))))
    assert pairs["1.jpg"] in ("1.jpg", None)


def test_path_goes_before_number() -> None:
    pairs = pair_pages(members("0_1.jpg", "1.jpg"), members("1.png"))
    assert named(pairs) == [("0_1.jpg", None), ("1.jpg", "1.png")]


names = st.lists(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "a/", "b/", "A/"]),
        st.sampled_from(["", "ep1_", "ep2_", "0"]),
        st.integers(0, 6),
        st.sampled_from([".jpg", ".png", ".JPG"]),
    ),
    unique=True,
    max_size=12,
)


@settings(max_examples=300)
@given(names, names)
def test_every_page_of_both_editions_once(color: list[str], gray: list[str]) -> None:
    pairs = named(pair_pages(members(*color), members(*gray)))
    assert [c for c, _ in pairs if c] == color
    assert Counter(g for _, g in pairs if g) == Counter(gray)
    assert (None, None) not in pairs


def test_chapters_pair_by_path_across_kinds() -> None:
    found = chapters_of(editions("v1/ep1.cbz", "v1/ep2", "v2/ep1.cbz"), editions("v1/ep2.cbz", "v2/ep1", "v1/ep1"))
    assert found == [("v1/ep1", "v1/ep1"), ("v1/ep2", "v1/ep2"), ("v2/ep1", "v2/ep1")]


def test_chapters_pair_by_name_where_it_is_unique() -> None:
    found = chapters_of(editions("colour/Ep01.cbz", "colour/ep2.cbz"), editions("ink/ep1", "ink/ep2", "old/ep2"))
    assert sorted(found, key=str) == sorted(
        [("colour/Ep01", "ink/ep1"), ("colour/ep2", None), (None, "ink/ep2"), (None, "old/ep2")], key=str
    )


FORMS = [
    ("\u30ac\u30f3\u30c0\u30e0", "\u30ab\u3099\u30f3\u30bf\u3099\u30e0"), ("\xe9t\xe9", "e\u0301te\u0301"),
    ("\ud55c\uae00", "\u1112\u1161\u11ab\u1100\u1173\u11af"), ("\u1e69", "s\u0307\u0323"), ("\u212b", "A\u030a"),
    ("\u307d\u3051", "\u307b\u309a\u3051"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), FORMS)
def test_unicode_forms_of_one_name_are_one(one: str, other: str) -> None:
    assert one != other
    assert chapters_of(editions(f"{one}/ep1.cbz", f"{one}/ep2.cbz"), editions(f"{other}/ep1.cbz", "ep3.cbz")) == [
        (f"{one}/ep1", f"{other}/ep1"), (f"{one}/ep2", None), (None, "ep3")
    ]  # fmt: skip
    assert chapters_of(editions(f"a/{one}.cbz", "b"), editions(f"{other}.cbz", "c"))[0] == (f"a/{one}", other)
    found = named(
        pair_pages(members(f"{one}.png", "1.png", f"a/{one}_2.png"), members(f"{other}.jpg", f"b/{other}_2.png"))
    )
    assert found == [(f"{one}.png", f"{other}.jpg"), ("1.png", None), (f"a/{one}_2.png", f"b/{other}_2.png")]
    for rel, name in ((one, other), (other, one), (f"S/{one} 01", f"{other} 1"), (f"S/{other}", f"S/{one}")):
        assert held_out([rel, "ep9"], name, 0) == {rel}


def test_one_chapter_on_each_side_is_a_pair() -> None:
    assert chapters_of(editions("colour.cbz"), editions("ink.cbz")) == [("colour", "ink")]


rels = st.lists(
    st.builds("{}ep{}{}".format, st.sampled_from(["", "a/", "b/"]), st.integers(0, 4), st.sampled_from(["", ".cbz"])),
    unique=True,
    max_size=8,
)


@settings(max_examples=200)
@given(rels, rels)
def test_every_chapter_of_both_editions_once(color: list[str], gray: list[str]) -> None:
    pairs = pair_editions(editions(*color), editions(*gray))
    assert Counter(c.ref.rel for c, _ in pairs if c) == Counter(color)
    assert Counter(g.ref.rel for _, g in pairs if g) == Counter(gray)


def test_flat_folder_of_chapter_and_page_names(tmp_path: Path) -> None:
    color = tree(tmp_path / "color", "ep1/1.jpg", "ep1/2.jpg", "ep2/1.jpg", "ep10/1.jpg")
    gray = tree(tmp_path / "gray", "01_001.png", "01_002.png", "02_001.png", "11_001.png", "ep1_003.png")
    found = find_editions(gray)
    assert {edition.rel for edition in found} == {"gray/1", "gray/2", "gray/11", "gray/ep1"}
    by_rel = {edition.rel: edition for edition in found}
    chapter = open_chapter(by_rel["gray/1"].ref)
    assert [page.name for page in by_rel["gray/1"].pages(chapter)] == ["01_001.png", "01_002.png"]

    pairs = chapters_of(find_editions(color), found)
    assert ("ep1", "gray/ep1") in pairs
    assert (None, "gray/11") in pairs
    assert ("ep10", None) in pairs


def test_flat_folder_pairs_with_archives(tmp_path: Path) -> None:
    gray = tree(tmp_path / "gray", "ep1_001.png", "ep1_002.png", "ep02_001.png")
    color = tmp_path / "color"
    color.mkdir()
    for name in ("ep01", "ep2"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("1.jpg", b"x")
        (color / f"{name}.cbz").write_bytes(out.getvalue())
    assert sorted(chapters_of(find_editions(str(color)), find_editions(gray))) == [
        ("ep01", "gray/ep1"),
        ("ep2", "gray/ep2"),
    ]


def test_folder_with_other_names_is_one_chapter(tmp_path: Path) -> None:
    for number, files in enumerate((["ep1_1.png", "ep2_1.png", "cover.png"], ["ep1_1.png", "ep1_2.png"])):
        (edition,) = find_editions(tree(tmp_path / str(number), *files))
        assert edition.only is None
        assert len(edition.pages(open_chapter(edition.ref))) == len(files)


RELS = [f"series/ep{number:02}" for number in range(1, 21)]


def test_held_out_by_name() -> None:
    assert held_out(RELS, "ep3, EP10", 0) == {"series/ep03", "series/ep10"}
    assert held_out(RELS, "series/ep07", 0) == {"series/ep07"}
    assert held_out(RELS, "", 0) == set()


def test_held_out_name_that_fits_none() -> None:
    with pytest.raises(BadUsageError, match=r"--holdout names 'ep99'.*ep01, ep02"):
        held_out(RELS, "ep3,ep99", 0)
    with pytest.raises(BadUsageError):
        held_out(RELS, "1.5", 0)


@given(st.integers(1, 30), st.floats(0, 1, exclude_max=True), st.integers(0, 2**32))
def test_held_out_by_fraction(count: int, fraction: float, seed: int) -> None:
    rels = [f"ep{number}" for number in range(count)]
    kept = held_out(rels, str(fraction), seed)
    assert kept <= set(rels)
    assert len(kept) < count  # something is left to learn from
    assert bool(kept) == (fraction > 0 and count > 1)
    if 2 <= fraction * count <= count - 2:
        assert abs(len(kept) - fraction * count) <= 0.5
    assert held_out(random.Random(0).sample(rels, count), str(fraction), seed) == kept


def test_held_out_seed_matters() -> None:
    assert len({frozenset(held_out(RELS, "0.2", seed)) for seed in range(5)}) > 1
    assert len(held_out(RELS, "0.2", 3)) == 4
