"""The file of --hints."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.colorize.hints import ChapterHints, kept_hints, parse_hints, read_hints
from jobs.parts.ledger.ledger import HINTS
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library, published
from tests.untrained import publish_untrained

HEADER = "page,x,y,radius,colour\n"


def of(*lines: str) -> bytes:
    return (HEADER + "".join(f"{line}\n" for line in lines)).encode()


def test_spots_are_gathered_by_page() -> None:
    hints = parse_hints(
        of("ch01.cbz/1.png, 10, 20.5, 3, #e8772e", "", "ch01.cbz/1.png,1,2,3,red", "ch02/2.png,0,0,1,#fff"), "h.csv"
    )

    first, second = hints.by_page["ch01.cbz/1.png"]
    assert (first.x, first.y, first.radius) == (10, 20.5, 3)
    assert second.ab == pytest.approx((80.1, 67.2), abs=0.1)  # sRGB red in CIELAB
    assert hints.by_page["ch02/2.png"][0].ab == pytest.approx((0, 0), abs=0.01)


def test_pages_find_their_chapter(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_bytes(of("a/ch01.cbz/p/1.png,1,2,3,red", "a/b/2.png,1,2,3,blue"))

    chapters = read_hints(f"{tmp_path}/h.csv").by_chapter(["a/ch01.cbz", "a/b", "c"])

    assert {rel: list(hints.by_page) for rel, hints in chapters.items()} == {
        "a/ch01.cbz": ["p/1.png"],
        "a/b": ["2.png"],
    }


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("\u30ab\u3099.cbz", "\u30ac.cbz"), ("\u30ac.cbz", "\u30ab\u3099.cbz"), ("\u30db\u309a/\xe9", "\u30dd/e\u0301"),
        ("e\u0301t\xe9.cbz", "\xe9te\u0301.cbz"), ("\u1112\u1161\u11ab.cbz", "\ud55c.cbz"),
    ],
)  # fmt: skip
def test_hints_find_a_page_in_either_unicode_form(stored: str, given: str) -> None:
    rows = of(f"{given}/p\u30ac.png,1,2,3,red", f"{stored}/p\u30ab\u3099.png,4,2,3,red")
    chapters = parse_hints(rows, "h.csv").by_chapter([stored, "other.cbz"])
    assert list(chapters) == [stored]
    for form in ("p\u30ac.png", "p\u30ab\u3099.png"):
        assert [hint.x for hint in chapters[stored].of(form, "safe.png")] == [1, 4]
        assert [hint.x for hint in chapters[stored].of("raw.png", form)] == [1, 4]
    assert chapters[stored].of("q.png") == ()


def test_a_picture_is_found_in_either_unicode_form() -> None:
    chapters = parse_hints(of("\u30ac.png,1,2,3,red"), "h.csv").by_chapter(["\u30ab\u3099.png"])
    assert len(chapters["\u30ab\u3099.png"].of("\u30ab\u3099.png")) == 1


def test_a_page_of_no_chapter_is_named_with_its_line() -> None:
    hints = parse_hints(of("ch01.cbz/1.png,1,2,3,red", "ch9.cbz/1.png,1,2,3,red"), "h.csv")

    with pytest.raises(BadUsageError, match=r"h\.csv, line 3: page 'ch9\.cbz/1\.png'.*ch01\.cbz/001\.jpg"):
        hints.by_chapter(["ch01.cbz"])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "line 1: the header is ''"),
        (b"page;x;y\n", "line 1: the header is 'page;x;y'"),
        (of("a/1.png,1,2,3"), "line 2: 4 cells"),
        (of("a/1.png,1,2,3,red", "a/1.png,one,2,3,red"), "line 3: x is 'one'"),
        (of("a/1.png,1,-2,3,red"), "line 2: y is '-2'"),
        (of("a/1.png,1,nan,3,red"), "line 2: y is 'nan'"),
        (of("a/1.png,1,2,0,red"), "line 2: radius is '0'"),
        (of("a/1.png,1,2,3,carrot"), "line 2: colour is 'carrot'"),
        (of(",1,2,3,red"), "line 2: page is empty"),
        (HEADER.encode() + b"\xff\xfe", "it is a CSV file in UTF-8"),
        (of('"a/1.png,1,2,3,red'), "it is a CSV file"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(data: bytes, told: str) -> None:
    with pytest.raises(BadUsageError) as refusal:
        parse_hints(data, "h.csv")

    assert told in str(refusal.value)
    assert "h.csv" in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match=r"--hints .*none\.csv"):
        read_hints(f"{tmp_path}/none.csv")


def test_a_file_without_a_hint_is_refused_where_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(HEADER)
    with pytest.raises(BadUsageError, match=r"h\.csv holds no hint"):
        read_hints(f"{tmp_path}/h.csv")


def test_hints_that_the_output_keeps_may_name_chapters_that_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = open_storage(str(tmp_path))
    assert kept_hints(out) is None
    out.put(HINTS, of("gone.cbz/1.png,1,2,3,red", "ch01.cbz/1.png,1,2,3,red"))
    kept = kept_hints(out)
    assert kept is not None
    assert list(kept.by_chapter(["ch01.cbz"])) == ["ch01.cbz"]
    assert "hints.csv, line 2: page 'gone.cbz/1.png' lies in no chapter" in caplog.text


def test_a_run_takes_up_the_hints_that_the_output_keeps(tmp_path: Path) -> None:
    publish_untrained(tmp_path / "model", "exemplar", base_channels=4, image_size=32)
    library = Library(tmp_path, tmp_path / "model")
    for name in ("ch01.cbz", "ch02.cbz"):
        library.put(f"in/{name}", zipped({f"{n}.png": gray_page(n) for n in range(3)}))
    library.run()
    plain = published(library, "ch01.cbz")

    library.put(f"out/{HINTS}", of("ch01.cbz/1.png,20,28,6,#d02040"))
    hinted = library.run()["ch01.cbz"]
    assert library.computed == {"ch01.cbz"}
    assert hinted.taken == 2
    after = published(library, "ch01.cbz")
    assert {name for name in after if after[name] != plain[name]} == {"1.jpg"}
    library.run()
    assert library.computed == set()

    (tmp_path / "h.csv").write_bytes(of("ch02.cbz/1.png,20,28,6,#d02040"))
    library.run(hints=str(tmp_path / "h.csv"))  # instead of those
    assert library.computed == {"ch01.cbz", "ch02.cbz"}
    assert published(library, "ch01.cbz") == plain

    library.put(f"out/{HINTS}", HEADER.encode())  # all taken back
    library.run()
    assert library.computed == {"ch02.cbz"}


def test_a_model_that_takes_no_hints_leaves_them_alone(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = Library(tmp_path, model)
    library.put("in/ch01.cbz", zipped({"1.png": gray_page(1)}))
    library.put(f"out/{HINTS}", of("ch01.cbz/1.png,20,28,6,#d02040"))
    assert library.run()["ch01.cbz"].status == "done"
    assert "takes no hints" in caplog.text


@given(st.binary(max_size=200))
def test_any_bytes_are_hints_or_refused(data: bytes) -> None:
    for given_bytes in (data, HEADER.encode() + data):
        try:
            hints = parse_hints(given_bytes, "h.csv")
        except BadUsageError:
            continue
        assert set(hints.by_page) == set(hints.first)


def test_other_hints_have_another_digest() -> None:
    one, other = (parse_hints(of(f"a/1.png,1,2,{radius},red"), "h").by_chapter(["a"])["a"] for radius in (3, 4))

    assert len({one.digest(), other.digest(), ChapterHints().digest()}) == 3
    assert ChapterHints().digest() == ""
