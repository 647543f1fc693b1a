"""ComicInfo.xml: what a reader wrote there stays there."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import comicinfo


def mark_colored(data: bytes) -> bytes:
    return comicinfo.mark_colored(data)[0]


NOTE = "Coloured by mangahue."
FULL = """<?xml version="1.0" encoding="utf-8"?>
<ComicInfo xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="ComicInfo.xsd">
  <Title>Grün &amp; blau: カラー</Title>
  <Summary>Two
lines</Summary>
  <BlackAndWhite>Yes</BlackAndWhite>
  <Notes>Scanned by hand.</Notes>
  <MyReader:Shelf xmlns:MyReader="urn:my-reader" colour="señal">top</MyReader:Shelf>
  <Pages><Page Image="0" Type="FrontCover"/><Page Image="1" Bookmark="第一話"/></Pages>
</ComicInfo>
""".encode()


def as_tree(data: bytes) -> list[tuple[str, dict[str, str], str]]:
    return [(node.tag, node.attrib, (node.text or "").strip()) for node in ElementTree.fromstring(data).iter()]


def test_marks_and_keeps_all_else() -> None:
    changed = {"BlackAndWhite": "No", "Notes": f"Scanned by hand.\n{NOTE}"}
    expected = [(tag, attributes, changed.get(tag, text)) for tag, attributes, text in as_tree(FULL)]
    assert as_tree(mark_colored(FULL)) == expected


def test_marking_twice_is_marking_once() -> None:
    once = mark_colored(FULL)
    assert mark_colored(once) == once
    assert once.count(NOTE.encode()) == 1


def test_adds_what_is_not_there() -> None:
    assert as_tree(mark_colored(b"<ComicInfo><Title>x</Title></ComicInfo>")) == [
        ("ComicInfo", {}, ""),
        ("Title", {}, "x"),
        ("Notes", {}, NOTE),
        ("BlackAndWhite", {}, "No"),
    ]
    assert ("Notes", {}, NOTE) in as_tree(mark_colored(b"<ComicInfo><Notes/></ComicInfo>"))


def test_namespace_of_the_root_is_its_childrens() -> None:
    space = "{http://comics.example/info}"
    data = b'<ComicInfo xmlns="http://comics.example/info"><BlackAndWhite>Yes</BlackAndWhite></ComicInfo>'
    assert as_tree(mark_colored(data)) == [
        (f"{space}ComicInfo", {}, ""),
        (f"{space}Notes", {}, NOTE),
        (f"{space}BlackAndWhite", {}, "No"),
    ]


# The elements of ComicInfo in the order of its xs:sequence, as ComicInfo.xsd has them (anansi-project).
SCHEMAS = {
    "v1.0": "Title Series Number Count Volume AlternateSeries AlternateNumber AlternateCount Summary Notes Year Month "
    "Writer Penciller Inker Colorist Letterer CoverArtist Editor Publisher Imprint Genre Web PageCount LanguageISO "
    "Format BlackAndWhite Manga Pages",
    "v2.0": "Title Series Number Count Volume AlternateSeries AlternateNumber AlternateCount Summary Notes Year Month "
    "Day Writer Penciller Inker Colorist Letterer CoverArtist Editor Publisher Imprint Genre Web PageCount LanguageISO "
    "Format BlackAndWhite Manga Characters Teams Locations ScanInformation StoryArc SeriesGroup AgeRating Pages "
    "CommunityRating MainCharacterOrTeam Review",
    "v2.1": "Title Series Number Count Volume AlternateSeries AlternateNumber AlternateCount Summary Notes Year Month "
    "Day Writer Penciller Inker Colorist Letterer CoverArtist Editor Translator Publisher Imprint Genre Tags Web "
    "PageCount LanguageISO Format BlackAndWhite Manga Characters Teams Locations ScanInformation StoryArc "
    "StoryArcNumber SeriesGroup AgeRating Pages CommunityRating MainCharacterOrTeam Review GTIN",
}


def check_valid(data: bytes, sequence: list[str], namespace: str = "") -> None:
    """Check a file against an xs:sequence of elements that may each be there once."""
    names = [node.tag.removeprefix(namespace) for node in ElementTree.fromstring(data)]
    assert sorted(names, key=sequence.index) == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("version", SCHEMAS)
@pytest.mark.parametrize("space", ["", "http://comics.example/info"])
@settings(max_examples=100)
@given(data=st.data())
def test_a_valid_file_stays_valid(version: str, space: str, data: st.DataObject) -> None:
    sequence = SCHEMAS[version].split()
    names = sorted(data.draw(st.sets(st.sampled_from(sequence))), key=sequence.index)
    root = f'<ComicInfo xmlns="{space}">' if space else "<ComicInfo>"
    source = root + "".join(f"\n  <{name}></{name}>" for name in names) + "\n</ComicInfo>"
    marked = mark_colored(source.encode())
    check_valid(marked, sequence, f"{{{space}}}" if space else "")
    found = {node.tag.rpartition("}")[2] for node in ElementTree.fromstring(marked)}
    assert found == {*names, "BlackAndWhite", "Notes"}


@pytest.mark.parametrize(
    "elements",
    [
        "<Title>T</Title><Pages><Page Image='0'/></Pages>", "<Pages/>", "<Year>2020</Year><Manga>Yes</Manga>",
        "<Writer>A</Writer><BlackAndWhite>Yes</BlackAndWhite><AgeRating>G</AgeRating>",
        "<CommunityRating>3</CommunityRating>", "<Notes>n</Notes><Pages/><Review>r</Review>", "",
    ],
)  # fmt: skip
def test_what_is_added_goes_where_the_schema_wants_it(elements: str) -> None:
    check_valid(mark_colored(f"<ComicInfo>{elements}</ComicInfo>".encode()), SCHEMAS["v2.0"].split())


def test_what_is_added_is_indented_as_its_neighbours() -> None:
    marked = mark_colored(b"<ComicInfo>\n  <Title>T</Title>\n  <Pages />\n</ComicInfo>").decode()
    assert (
        f"\n  <Title>T</Title>\n  <Notes>{NOTE}</Notes>\n  <BlackAndWhite>No</BlackAndWhite>\n  <Pages />\n" in marked
    )


def test_elements_of_other_programs_and_in_any_order_stay_in_theirs() -> None:
    source = b"<ComicInfo><Web>w</Web><Shelf>s</Shelf><Title>T</Title><Pages/><Own/></ComicInfo>"
    names = [node.tag for node in ElementTree.fromstring(mark_colored(source))]
    assert [name for name in names if name not in ("Notes", "BlackAndWhite")] == [
        "Web",
        "Shelf",
        "Title",
        "Pages",
        "Own",
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "utf-8-sig"])
def test_any_encoding(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    data = f'<?xml version="1.0" encoding="{declared}"?><ComicInfo><Title>Grün</Title></ComicInfo>'.encode(encoding)
    assert ("Title", {}, "Grün") in as_tree(mark_colored(data))
    assert ("BlackAndWhite", {}, "No") in as_tree(mark_colored(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no XML",
        b"<ComicInfo><Title>cut",
        FULL[:-20],
        b"\xff\xfe<ComicInfo/>",
        b'<?xml version="1.0" encoding="klingon"?><ComicInfo/>',
        b"<Other><BlackAndWhite>Yes</BlackAndWhite></Other>",
        b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><ComicInfo><Title>&b;</Title></ComicInfo>',
        b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><ComicInfo><Title>&f;</Title></ComicInfo>',
        b'<!DOCTYPE ComicInfo SYSTEM "http://127.0.0.1:9/x.dtd"><ComicInfo/>',
    ],
)
def test_what_is_not_understood_comes_back_byte_for_byte(data: bytes) -> None:
    marked, warning = comicinfo.mark_colored(data)
    assert marked == data
    assert "ComicInfo.xml is kept as it is" in warning


def test_sizes_that_are_told_are_told_anew() -> None:
    pages = (
        '<Page Image="1" ImageSize="5" ImageWidth="6" Type="Story"/><Page Image="0"/><Page Image="7" ImageSize="1"/>'
    )
    data = f"<ComicInfo><Pages>{pages}</Pages></ComicInfo>".encode()
    marked, warning = comicinfo.mark_colored(data, [(100, 20, 30), (400, 0, 0)])
    found = [node.attrib for node in ElementTree.fromstring(marked).iter("Page")]
    assert found == [
        {"Image": "1", "ImageSize": "400", "ImageWidth": "6", "Type": "Story"},  # a size that is not known stays
        {"Image": "0"},
        {"Image": "7", "ImageSize": "1"},
    ]
    assert not warning


def test_nesting_without_end() -> None:
    data = b"<ComicInfo>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</ComicInfo>"
    marked = mark_colored(data)
    assert marked == data or marked.count(b"<a") == 20_000


def test_comments_are_kept() -> None:
    assert b"made by hand" in mark_colored(b"<ComicInfo><!-- made by hand --><Title>x</Title></ComicInfo>")


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, len(FULL)), st.integers(0, 60))
def test_any_bytes_come_back_as_bytes(junk: bytes, start: int, length: int) -> None:
    assert mark_colored(junk) == junk
    assert isinstance(mark_colored(FULL[:start] + junk + FULL[start + length :]), bytes)


text = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=20)


@given(text, st.lists(text, max_size=3))
def test_text_is_kept(title: str, notes: list[str]) -> None:
    root = ElementTree.Element("ComicInfo")
    ElementTree.SubElement(root, "Title", Lang=title).text = title
    ElementTree.SubElement(root, "Notes").text = "\n".join(notes)
    marked = ElementTree.fromstring(mark_colored(ElementTree.tostring(root)))
    found = marked.find("Title")
    assert found is not None
    assert (found.text or "", found.attrib) == (title, {"Lang": title})
    for note in filter(None, notes):
        assert note in (marked.findtext("Notes") or "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<ComicInfo><Title>" + b"x" * 2**23 + b"</Title></ComicInfo>", "8388646 bytes"),
        (b"<ComicInfo><Pages>" + b"<Page/>" * 100_000 + b"</Pages></ComicInfo>", "more than 100000 elements"),
        (b"<ComicInfo>" + b"<a>" * 100 + b"</a>" * 100 + b"</ComicInfo>", "deeper than 100"),
        (b'<!DOCTYPE x SYSTEM "' + b"x" * 10**6 + b'"><ComicInfo/>', "DTDForbidden"),
    ],
)
def test_what_is_beyond_all_measure_is_kept(data: bytes, why: str) -> None:
    marked, warning = comicinfo.mark_colored(data)
    assert marked == data
    assert why in warning
    assert len(warning) < 500


def test_as_much_as_is_allowed_is_marked() -> None:
    for data in (
        b"<ComicInfo>" + b"<a>" * 99 + b"</a>" * 99 + b"</ComicInfo>",
        b"<ComicInfo>" + b"<Page/>" * 99_999 + b"</ComicInfo>",
        b"<ComicInfo><Title>" + b"x" * (2**23 - 38) + b"</Title></ComicInfo>",
    ):
        marked, warning = comicinfo.mark_colored(data)
        assert NOTE.encode() in marked
        assert not warning
