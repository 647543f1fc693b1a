"""The file of --cast, and what a change of one colour does again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.errors import BadUsageError
from jobs.parts.colorize.cast import Cast, name_of, parse_cast, read_cast
from jobs.parts.colorize.hints import parse_hints
from jobs.parts.ledger.ledger import CAST, HINTS
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library, published
from tests.untrained import publish_untrained

HEADER = "name,colour\n"
ON_TWO_PAGES = (
    b"page,x,y,radius,colour\nch01.cbz/1.png,20,28,6,fur of Momo\nch02.cbz/0.png,20,28,6,fur of Momo\n"
    b"ch02.cbz/2.png,20,28,6,sea\n"
)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Two chapters of three pages, and a model that takes hints."""
    publish_untrained(tmp_path / "model", "exemplar", base_channels=4, image_size=32)
    library = Library(tmp_path, tmp_path / "model")
    for name in ("ch01.cbz", "ch02.cbz"):
        library.put(f"in/{name}", zipped({f"{n}.png": gray_page(n) for n in range(3)}))
    return library


def test_a_hint_has_the_colour_that_its_name_has() -> None:
    cast = parse_cast(b'name,colour\n"fur, of Mo\xcc\x88mo",#e0a030\nsea, teal\n', "c.csv")  # o and its dots apart

    hints = parse_hints(
        'page,x,y,radius,colour\na/1.png,1,2,3,"fur, of Mo\u0308mo"\na/1.png,1,2,3,sea'.encode(), "h", cast
    )
    plain = parse_hints(b"page,x,y,radius,colour\na/1.png,1,2,3,#e0a030\na/1.png,1,2,3,teal", "h")

    assert hints.by_page == plain.by_page
    assert list(cast.colours) == ["fur, of M\xf6mo", "sea"]
    assert hints.naming("fur, of M\xf6mo") == hints.naming("sea") == ["a/1.png"]
    assert plain.naming("sea") == []


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "line 1: the header is ''"),
        (b"name;colour\n", "line 1: the header is 'name;colour'"),
        (b"name,colour\nsea\n", "line 2: 1 cells"),
        (b"name,colour\nsea,blueish\n", "line 2: colour is 'blueish'"),
        (b'name,colour\nsea,"rgb(300,0,0)"\n', "line 2: colour is 'rgb(300,0,0)'"),
        (b'name,colour\nsea,"rgb(400%,0%,0%)"\n', "line 2: colour is 'rgb(400%,0%,0%)'"),
        (b'name,colour\nsea,"hsl(10,500%,50%)"\n', "line 2: colour is 'hsl(10,500%,50%)'"),
        (b"name,colour\na\0b,teal\n", "without control characters"),
        (b"name,colour\n,teal\n", "line 2: name is ''"),
        (b"name,colour\nOrange,teal\n", "line 2: name is 'Orange', which is a colour itself"),
        (b"name,colour\n#fff,teal\n", "line 2: name is '#fff', which is a colour itself"),
        (b"name,colour\nsea,teal\n\nsea,navy\n", "line 4: name is 'sea', which another line has"),
        (b"name,colour\n" + b"a" * 81 + b",teal\n", "give 1 to 80 letters"),
        (b"name,colour\n\xff,teal\n", "it is a CSV file in UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(data: bytes, told: str) -> None:
    with pytest.raises(BadUsageError) as refusal:
        parse_cast(data, "--cast c.csv")
    assert told in str(refusal.value)
    assert "--cast c.csv" in str(refusal.value)


def test_a_hint_whose_name_the_cast_lacks_is_refused() -> None:
    with pytest.raises(BadUsageError, match=r"h\.csv, line 2: colour is 'see'; give .*, or a name of the cast \(sea\)"):
        parse_hints(b"page,x,y,radius,colour\na/1.png,1,2,3,see\n", "h.csv", Cast({"sea": "teal"}))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match=r"--cast .*none\.csv"):
        read_cast(f"{tmp_path}/none.csv")


@given(st.binary(max_size=100))
def test_any_bytes_are_a_cast_or_refused(data: bytes) -> None:
    for given_bytes in (data, HEADER.encode() + data):
        try:
            cast = parse_cast(given_bytes, "c.csv")
        except BadUsageError:
            continue
        assert all(name == name_of(name) for name in cast.colours)
        for name in cast.colours:
            cast.ab_of(name)


def test_a_change_of_one_name_does_the_pages_again_that_have_it(library: Library, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_bytes(ON_TWO_PAGES)
    (tmp_path / "c.csv").write_text(f"{HEADER}fur of Momo,#e0a030\nsea,teal\n")
    files = {"hints": str(tmp_path / "h.csv"), "cast": str(tmp_path / "c.csv")}
    library.run(**files)
    before = {rel: published(library, rel) for rel in ("ch01.cbz", "ch02.cbz")}

    library.run(**files)
    assert library.computed == set()

    (tmp_path / "c.csv").write_text(f"{HEADER}sea,teal\nfur of Momo,#3060c0\n")
    done = library.run(**files)
    assert [done[rel].taken for rel in sorted(done)] == [2, 2]  # all pages but one of each chapter
    changed = {rel: {name for name, page in published(library, rel).items() if page != before[rel][name]}
               for rel in before}  # fmt: skip
    assert changed == {"ch01.cbz": {"1.jpg"}, "ch02.cbz": {"0.jpg"}}

    (tmp_path / "c.csv").write_text(f"{HEADER}sea,navy\nfur of Momo,#3060c0\n")
    library.run(**files)
    assert library.computed == {"ch02.cbz"}


def test_a_run_takes_up_the_cast_that_the_output_keeps(
    library: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library.put(f"out/{HINTS}", ON_TWO_PAGES)
    library.put(f"out/{CAST}", f"{HEADER}fur of Momo,#e0a030\nsea,teal\n".encode())
    library.run()
    library.put(f"out/{CAST}", f"{HEADER}fur of Momo,#e0a030\nsea,navy\n".encode())
    library.run()
    assert library.computed == {"ch02.cbz"}

    (tmp_path / "c.csv").write_text(f"{HEADER}fur of Momo,#e0a030\nsea,teal\nmoon,gold\n")
    library.run(cast=str(tmp_path / "c.csv"))  # instead of it
    assert library.computed == {"ch02.cbz"}
    assert "no hint names moon" in caplog.text


def test_a_model_that_takes_no_hints_refuses_a_cast(tmp_path: Path, model: Path) -> None:
    library = Library(tmp_path, model)
    library.put("in/ch01.cbz", zipped({"1.png": gray_page(1)}))
    (tmp_path / "c.csv").write_text(f"{HEADER}sea,teal\n")
    with pytest.raises(BadUsageError, match=r"--cast .*c\.csv: a model of .* takes no hints; give one of exemplar"):
        library.run(cast=str(tmp_path / "c.csv"))
