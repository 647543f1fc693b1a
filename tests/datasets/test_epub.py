"""What the documents of an EPUB show, however they are written; nothing of the spine is lost without a code."""

import io
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.archive import find_chapters
from datasets.chapters import Chapter, open_chapter
from datasets.chapters.xhtml import parse_document
from datasets.errors import ChapterUnreadableError, Code, PageUnreadableError
from datasets.limits import Limits
from tests.archives import raw_zip
from tests.books import book, book_of, package, xhtml
from tests.pictures import ramp, saved

PICTURES = {f"Images/{name}.png": name.encode() for name in ("a", "b", "c", "a&b", "größe", "x y", "Ｅｐ１")}
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "ポケモンガ") for form in ("NFC", "NFD"))


def opened(folder: Path, data: bytes) -> Chapter:
    (folder / "ep.epub").write_bytes(data)
    (ref,) = find_chapters(str(folder / "ep.epub"))
    return open_chapter(ref)


def shown(chapter: Chapter) -> list[bytes | Code]:
    """The bytes of each page, or its code."""
    found: list[bytes | Code] = []
    for page in chapter.pages:
        try:
            found.append(chapter.read(page))
        except PageUnreadableError as error:
            found.append(error.code)
    return found


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
DOCTYPE = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">'

WRITTEN: dict[str, tuple[str | bytes, list[bytes]]] = {
    "attributes in any order": (xhtml('<img alt="src=\'b.png\'" height="9" src=\'../Images/a.png\'/>'), [b"a"]),
    "over lines": (xhtml('<img\n  alt=">"\n\tsrc\n=\n"../Images/a.png"\n/>'), [b"a"]),
    "capitals": (xhtml('<IMG SRC="../Images/a.png"/>'), [b"a"]),
    "ampersand": (xhtml('<img src="../Images/a&amp;b.png"/>'), [b"a&b"]),
    "ampersand by number": (xhtml('<img src="../Images/a&#38;b.png"/>'), [b"a&b"]),
    "named letter": (xhtml('<img src="../Images/gr&ouml;&szlig;e.png"/>&nbsp;'), ["größe".encode()]),
    "named letter with a DTD": (xhtml('&nbsp;<img src="../Images/a.png"/>').replace("\n", "\n" + DOCTYPE), [b"a"]),
    "quoted": (xhtml('<img src="../Images/x%20y.png"/><img src="../Images/gr%C3%B6%C3%9Fe.png"/>'),
               [b"x y", "größe".encode()]),
    "not quoted": (xhtml('<img src="../Images/x y.png"/>'), [b"x y"]),
    "a comment": (xhtml('<!-- <img src="../Images/b.png"/> --><img src="../Images/a.png"/>'), [b"a"]),
    "a script": (xhtml('<script>/*<![CDATA[*/"<img src=\'../Images/b.png\'>"/*]]>*/</script>'
                       '<img src="../Images/a.png"/>'), [b"a"]),
    "prefixes": (xhtml('<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:l="http://www.w3.org/1999/xlink">'
                       '<s:image l:href="../Images/a.png"/></s:svg>'), [b"a"]),
    "a prefixed document": ('<h:html xmlns:h="http://www.w3.org/1999/xhtml"><h:body><h:img src="../Images/a.png"/>'
                            "</h:body></h:html>", [b"a"]),
    "a prefix that is not declared": (xhtml('<svg:svg><svg:image xl:href="../Images/a.png"/></svg:svg>'), [b"a"]),
    "href of SVG 2": (xhtml(f'{SVG}<image href="../Images/a.png" xlink:href="../Images/b.png"/></svg>'), [b"a"]),
    "inline style": (xhtml("<div style=\"color:red;background : #fff url( '../Images/a.png' ) no-repeat\"></div>"),
                     [b"a"]),
    "inline style, quoted by names": (xhtml('<p style="background-image:url(&quot;../Images/a&amp;b.png&quot;)"/>'),
                                      [b"a&b"]),
    "inline style, escaped": (xhtml(r'<p style="background-image:url(../Images/x\ y.png)"/>'), [b"x y"]),
    "inline style, commented out": (xhtml('<p style="/*background:url(../Images/b.png)*/color:red"/>'
                                          '<img src="../Images/a.png"/>'), [b"a"]),
    "image-set": (xhtml('<p style="background-image:image-set(\'../Images/a.png\' 1x, url(../Images/b.png) 2x)"/>'),
                  [b"a"]),
    "several layers": (xhtml('<p style="background:url(../Images/a.png),url(../Images/b.png)"/>'), [b"a", b"b"]),
    "style element": (xhtml('<div id="p1"/>', "<style>#p1 { background: url(../Images/a.png) }</style>"), [b"a"]),
    "style element in CDATA": (xhtml('<div class="x p1"/>', "<style><![CDATA[ div.p1 > b, body .p1 { background: "
                                     "url(../Images/a.png) }]]></style>"), [b"a"]),
    "a rule for what is not there": (xhtml('<img src="../Images/a.png"/>', "<style>.q{background:url(../Images/b.png)}"
                                           "</style>"), [b"a"]),
    "a later rule": (xhtml('<p class="p"/>', "<style>.p{background:url(../Images/b.png)} p.p{background-image:"
                           "url(../Images/a.png)} .p{color:red}</style>"), [b"a"]),
    "a rule taken back": (xhtml('<p class="p"/><img src="../Images/a.png"/>',
                                "<style>.p{background:url(../Images/b.png)} .p{background:none}</style>"), [b"a"]),
    "an important rule": (xhtml('<p class="p"/>', "<style>.p{background:url(../Images/a.png) !important} "
                                "p.p{background:url(../Images/b.png)}</style>"), [b"a"]),
    "named letters beside CDATA": (xhtml('<p/>&nbsp;', "<style><![CDATA[p{background:url(../Images/a.png)}]]></style>"),
                                   [b"a"]),
    "before an element": (xhtml('<p class="p"/>', "<style>.p::before{content:url(../Images/a.png)}</style>"), [b"a"]),
    "media": (xhtml('<p/>', "<style>@media print{p{background:url(../Images/b.png)}} @media screen and (width>1px)"
                    "{p{background:url(../Images/a.png)}}</style>"), [b"a"]),
    "object": (xhtml('<object data="../Images/a.png" type="image/png"><img src="../Images/b.png"/></object>'), [b"a"]),
    "object of another kind": (xhtml('<object data="../a.mp3" type="audio/mpeg"><img src="../Images/a.png"/></object>'),
                               [b"a"]),
    "embed": (xhtml('<embed src="../Images/a.png"/>'), [b"a"]),
    "picture": (xhtml('<picture><source srcset="../Images/b.png"/><img src="../Images/a.png"/></picture>'), [b"a"]),
    "srcset alone": (xhtml('<img srcset="../Images/a.png 1x, ../Images/b.png 2x"/>'), [b"a"]),
    "body": (xhtml("").replace("<body>", '<body background="../Images/a.png">'), [b"a"]),
    "several in order": (xhtml('<p style="background:url(../Images/c.png)"/><img src="../Images/a.png"/>'
                               f'{SVG}<image xlink:href="../Images/b.png"/></svg><img src="../Images/a.png"/>'),
                         [b"c", b"a", b"b"]),
    "base": (xhtml('<img src="a.png"/>', '<base href="../Images/"/>'), [b"a"]),
    "from the root": (xhtml('<img src="/OEBPS/Images/a.png"/>'), [b"a"]),
    "over the root": (xhtml('<img src="../../../../OEBPS/Images/a.png#x"/>'), [b"a"]),
    "backslashes": (xhtml(r'<img src="..\Images\a.png"/>'), [b"a"]),
    "not closed": ('<html><body><p><img src="../Images/a.png"><br><b><img src=../Images/b.png></p>', [b"a", b"b"]),
    "tags that cross": (xhtml('<b><i></b></i><img src="../Images/a.png"/>&amp;&undeclared;'), [b"a"]),
    "sections that are none": ('<p><![x[<b></p><![<!><![ if ]><img src="../Images/a.png">', [b"a"]),
    "a section without end": ('<p><img src="../Images/a.png"><![CDATA[ <b', [b"a"]),
    "space before": ("\n " + xhtml('<img src="../Images/a.png"/>'), [b"a"]),
    "UTF-16": (xhtml('<img src="../Images/größe.png"/>').replace("utf-8", "utf-16").encode("utf-16"),
               ["größe".encode()]),
    "UTF-16 without a mark, after space": ((" \n" + xhtml('<img src="../Images/größe.png"/>')).encode("utf-16-le"),
                                           ["größe".encode()]),
    "UTF-16 without a mark or a declaration": ('<!-- x --><html><img src="../Images/größe.png"/></html>'.encode(
        "utf-16-le"), ["größe".encode()]),
    "UTF-32": (xhtml('<img src="../Images/größe.png"/>').encode("utf-32"), ["größe".encode()]),
    "Latin-1, not declared": ('<html><img src="../Images/größe.png"/></html>'.encode("latin-1"), ["größe".encode()]),
    "image, as HTML has it": ('<html><body><image src="../Images/a.png"></body></html>', [b"a"]),
    "layer": (xhtml("<p/>", "<style>@layer x { p { background: url(../Images/a.png) } }</style>"), [b"a"]),
    "UTF-16 without a mark": (xhtml('<img src="../Images/größe.png"/>').encode("utf-16-be"), ["größe".encode()]),
    "UTF-8 with a mark": (xhtml('<img src="../Images/größe.png"/>').encode("utf-8-sig"), ["größe".encode()]),
    "Shift-JIS": (xhtml('<img src="../Images/Ｅｐ１.png"/>').replace("utf-8", "Shift_JIS").encode("cp932"),
                  ["Ｅｐ１".encode()]),
    "Latin-1": (xhtml('<img src="../Images/größe.png"/>').replace("utf-8", "iso-8859-1").encode("latin-1"),
                ["größe".encode()]),
    "Latin-1 in a meta element": ('<html><head><meta content="text/html; charset=iso-8859-1" http-equiv="x"/></head>'
                                  '<body><img src="../Images/größe.png"></body></html>'.encode("latin-1"),
                                  ["größe".encode()]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_document_gives_its_pictures_however_it_is_written(tmp_path: Path, name: str) -> None:
    document, wanted = WRITTEN[name]
    chapter = opened(tmp_path, book_of({"p.xhtml": document}, PICTURES))
    assert shown(chapter) == wanted
    assert chapter.warnings == []


LOST: dict[str, tuple[str, Code]] = {
    "declared entities": ('<!DOCTYPE html [<!ENTITY x "y">]>' + xhtml('<img src="../Images/a.png"/>')[39:],
                          Code.NO_PICTURE),
    "a drawing": (xhtml(f'{SVG}<path d="M0 0"/></svg>'), Code.NO_PICTURE),
    "a film": (xhtml('<video src="../a.mp4"/>'), Code.NO_PICTURE),
    "a picture elsewhere": (xhtml('<img src="https://example.org/a.png"/>'), Code.NO_PICTURE),
    "a picture in the document": (xhtml('<img src="data:image/png;base64,AAAA"/>'), Code.NO_PICTURE),
    "a picture that is not there": (xhtml('<img src="../Images/z.png"/>'), Code.MISSING),
    "a style sheet that is not there": (xhtml("<p/>", '<link rel="stylesheet" href="../z.css"/>'), Code.MISSING),
    "a drawing that is not there": (xhtml('<img src="../Images/z.svg"/>'), Code.MISSING),
    "elements without end": (xhtml("<b>" * 600 + "</b>" * 600), Code.LIMIT),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_a_page_that_can_not_be_shown_keeps_its_place_and_has_a_code(tmp_path: Path, name: str) -> None:
    document, code = LOST[name]
    good = xhtml('<img src="../Images/b.png"/>')
    chapter = opened(tmp_path, book_of({"1.xhtml": good, "2.xhtml": document, "3.xhtml": good}, PICTURES))
    assert shown(chapter) == [b"b", code, b"b"]


def test_pages_of_text_are_left_out_and_said(tmp_path: Path) -> None:
    documents = {"1.xhtml": xhtml('<img src="../Images/a.png"/>'), "2.xhtml": xhtml("<p>All rights reserved</p>")}
    chapter = opened(tmp_path, book_of(documents, PICTURES))
    assert shown(chapter) == [b"a"]
    (warning,) = chapter.warnings
    assert warning.startswith("TEXT: ")
    assert "OEBPS/Text/2.xhtml" in warning


def test_pictures_of_a_shared_style_sheet_are_told_apart_by_its_selectors(tmp_path: Path) -> None:
    links = '<link href="../css/book.css" type="text/css" rel="stylesheet"/>'
    pages = {f"{name}.xhtml": xhtml(f'<div class="page {name}"/>', links) for name in "cab"}
    pages["d.xhtml"] = xhtml('<p class="e"/>', '<link rel="stylesheet" href="../css/sub/more.css"/>')
    instruction = '?><?xml-stylesheet type="text/css" href="../css/book.css"?>'
    pages["e.xhtml"] = xhtml('<p class="d"/>').replace("?>", instruction, 1)
    sheets = {
        "css/book.css": '@charset "utf-8"; @import "sub/more.css"; .a{background:url(../Images/a.png)}'
                        "body > .b, td{background-image:url('../Images/b.png')} ..broken{background:url(x.png)}"
                        "body{background:url(../Images/größe.png)}",
        "css/sub/more.css": "@import url(../book.css); .c{background:url('../../Images/c.png')} "
                            ".d{background:url(../../Images/x%20y.png)} .e{background:url(../../Images/a&b.png)}",
    }  # fmt: skip
    chapter = opened(tmp_path, book_of(pages, {**PICTURES, **sheets}))
    assert shown(chapter) == [b"c", b"a", b"b", b"a&b", b"x y"]


def test_the_paper_behind_every_page_is_no_page(tmp_path: Path) -> None:
    head = '<link rel="stylesheet" href="../s.css"/>'
    pages = {
        "1.xhtml": xhtml('<img src="../Images/a.png"/>', head), "2.xhtml": xhtml("<p>text</p>", head),
        "3.xhtml": xhtml('<img src="../Images/b.png"/>', head),
    }  # fmt: skip
    chapter = opened(tmp_path, book_of(pages, {**PICTURES, "s.css": "body{background:url(Images/c.png)}"}))
    assert shown(chapter) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("link", "stored"),
    [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("Page", "PAGE"), ("ÉCLAIR", "éclair"), ("a%20b", "a%20b"),
     ("ｶﾞ", "ｶﾞ")],
)  # fmt: skip
@pytest.mark.parametrize("what", ["picture", "document", "sheet"])
def test_names_that_differ_in_form_or_case_are_found(tmp_path: Path, link: str, stored: str, what: str) -> None:
    head = '<link rel="stylesheet" href="../{}.css"/>'
    documents = {
        "picture": {f"Text/{stored}.xhtml": xhtml(f'<img src="../Images/{link}.png"/>')},
        "document": {f"Text/{stored}.xhtml": xhtml('<img src="../Images/a.png"/>')},
        "sheet": {f"Text/{stored}.xhtml": xhtml("<p/>", head.format(link)),
                  f"{stored}.css": "p{background:url(Images/a.png)}"},
    }[what]  # fmt: skip
    opf = package({"d": (f"Text/{link}.xhtml", "application/xhtml+xml")}, ["d"])
    chapter = opened(tmp_path, book({**documents, f"Images/{stored}.png": b"it", "Images/a.png": b"it"}, opf))
    assert shown(chapter) == [b"it"]


def test_of_two_names_that_differ_in_case_alone_each_is_found(tmp_path: Path) -> None:
    body = xhtml('<img src="../Images/p.png"/><img src="../Images/P.png"/>')
    chapter = opened(tmp_path, book_of({"1.xhtml": body}, {"Images/P.png": b"large", "Images/p.png": b"small"}))
    assert shown(chapter) == [b"small", b"large"]


def test_no_item_of_the_spine_is_lost(tmp_path: Path) -> None:
    svg = f'<?xml version="1.0"?>{SVG}<image xlink:href="b.png"/></svg>'
    items = {
        "picture": ("Images/a.png", "image/png"), "svg": ("Images/b.svg", "image/svg+xml"),
        "gone": ("Text/gone.xhtml", "application/xhtml+xml"), "foreign": ("x.bin", 'application/x" fallback="picture'),
        "in": ("Text/in.xhtml", "application/xhtml+xml"), "frame": ("Text/frame.xhtml", "application/xhtml+xml"),
        "round": ("Text/round.xhtml", "application/xhtml+xml"),
    }  # fmt: skip
    files = {
        **PICTURES, "Images/b.svg": svg, "x.bin": b"x", "Text/in.xhtml": xhtml('<img src="../Images/b.svg"/>'),
        "Text/frame.xhtml": xhtml('<iframe src="in.xhtml"/>'),
        "Text/round.xhtml": xhtml('<iframe src="round.xhtml"/><img src="../Images/c.png"/>'),
    }  # fmt: skip
    spine = ["picture", "svg", "gone", "nobody", "foreign", "in", "frame", "round", "picture"]
    chapter = opened(tmp_path, book(files, package(items, spine)))
    missing = Code.MISSING
    assert shown(chapter) == [b"a", b"b", missing, missing, b"a", b"b", b"b", b"c", b"a"]


def test_what_is_neither_document_nor_picture_is_told(tmp_path: Path) -> None:
    items = {
        "pdf": ("x.pdf", "application/pdf"), "film": ("x.mp4", "video/mp4"), "sound": ("x.mp3", "audio/mpeg"),
        "picture": ("Images/odd", "application/octet-stream"), "unsaid": ("Images/odd", ""),
        "page": ("Text/p.xhtml", "application/octet-stream"),
    }  # fmt: skip
    page = saved(ramp())
    files = {"x.pdf": b"%PDF-1.7", "x.mp4": b"film", "x.mp3": b"ID3", "Images/odd": page, **PICTURES,
             "Text/p.xhtml": xhtml('<img src="../Images/a.png"/>')}  # fmt: skip
    found = shown(opened(tmp_path, book(files, package(items, list(items)))))
    assert found == [*[Code.NO_PICTURE] * 3, page, page, b"a"]


@pytest.mark.parametrize(
    "change", [lambda name: name.replace("/", "\\"), lambda name: f"./{name}", lambda name: f"/{name}"]
)
def test_members_are_found_however_their_folders_are_parted(tmp_path: Path, change: Callable[[str], str]) -> None:
    data = book_of({"1.xhtml": xhtml('<img src="../Images/a.png"/>')}, {**PICTURES, "Fonts\\": b""})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(change(name), archive.read(name)) for name in archive.namelist()]
    assert shown(opened(tmp_path, raw_zip(members))) == [b"a"]


def test_a_package_document_may_have_the_named_characters_of_html(tmp_path: Path) -> None:
    opf = package({"d": ("Text/1.xhtml", "application/xhtml+xml")}, ["d"])
    opf = opf.replace("<manifest>", "<metadata>&copy;&nbsp;&amp;</metadata><manifest>")
    files = {"Text/1.xhtml": xhtml('<img src="../Images/a.png"/>'), **PICTURES}
    assert shown(opened(tmp_path, book(files, opf))) == [b"a"]


def test_documents_in_each_other_without_end_are_told(tmp_path: Path) -> None:
    frames = {f"{number:02}.xhtml": xhtml(f'<iframe src="{number + 1:02}.xhtml"/>') for number in range(30)}
    documents = {**frames, "30.xhtml": xhtml('<img src="../Images/a.png"/>')}
    found = shown(opened(tmp_path, book_of(documents, PICTURES)))
    assert found == [*[Code.LIMIT] * 21, *[b"a"] * 10]


def test_a_spine_without_end_is_refused_by_its_code(tmp_path: Path) -> None:
    documents = {f"{number}.xhtml": xhtml("text") for number in range(9)}
    (tmp_path / "ep.epub").write_bytes(
        book_of({**documents, "9.xhtml": xhtml('<img src="../Images/a.png"/>')}, PICTURES)
    )
    (ref,) = find_chapters(str(tmp_path / "ep.epub"))
    assert shown(open_chapter(ref, Limits(members=10))) == [b"a"]
    with pytest.raises(ChapterUnreadableError, match="10 documents in its spine, over 9; see --max-members") as caught:
        open_chapter(ref, Limits(members=9))
    assert caught.value.code == Code.LIMIT


@pytest.mark.parametrize(
    ("codec", "name", "said"),
    [("cp932", "表紙・能登", "Shift-JIS"), ("cp949", "진격의 거인", "EUC-KR"), ("gb18030", "海贼王 第一卷", "GBK"),
     ("big5", "海賊王 第一卷彩頁", "Big5"), ("cp437", "première étape", "code page 437"), ("utf-8", "表紙", "")],
)  # fmt: skip
def test_names_in_other_encodings_are_found_and_said(tmp_path: Path, codec: str, name: str, said: str) -> None:
    body = xhtml(f'<img src="../Images/{name}.png"/>')
    data = book_of({f"{name}.xhtml": body}, {f"Images/{name}.png": b"it"})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(item.encode(codec), archive.read(item)) for item in archive.namelist()]
    chapter = opened(tmp_path, raw_zip(members, b"tags"))
    assert shown(chapter) == [b"it"]
    assert len(chapter.warnings) == bool(said)
    assert all(said in warning for warning in chapter.warnings)
    assert chapter.directory().comment == b"tags"


def test_a_picture_is_named_by_what_the_book_says_it_is(tmp_path: Path) -> None:
    items = {"d": ("Text/p.xhtml", "application/xhtml+xml"), "i": ("Images/p.pic", "image/jpeg"),
             "w": ("Images/q", "image/webp")}  # fmt: skip
    files = {"Text/p.xhtml": xhtml('<img src="../Images/p.pic"/><img src="../Images/q"/>'), "Images/p.pic": b"1",
             "Images/q": b"2"}  # fmt: skip
    chapter = opened(tmp_path, book(files, package(items, ["d"])))
    assert [page.name for page in chapter.pages] == ["0001 p.jpg", "0002 q.webp"]


names = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0:?#%", exclude_categories=["C", "Z"]), min_size=1)


@settings(max_examples=60)
@given(
    name=names, how=st.sampled_from(["img", "svg", "style", "object", "sheet"]), form=st.sampled_from(["NFC", "NFD"])
)
def test_a_picture_of_any_name_is_found(
    tmp_path_factory: pytest.TempPathFactory, name: str, how: str, form: str
) -> None:
    from html import escape
    from urllib.parse import quote

    link = f"../Images/{quote(unicodedata.normalize(form, name))}.png"
    body = {
        "img": f'<img src="{escape(link)}"/>', "svg": f"{SVG}<image xlink:href='{escape(link)}'/></svg>",
        "style": f'<p style="background:url({escape(link)})"/>', "object": f'<object data="{escape(link)}"/>',
        "sheet": "<p/>",
    }[how]  # fmt: skip
    head = f"<style>p{{background:url('{link}')}}</style>" if how == "sheet" else ""
    data = book_of({"1.xhtml": xhtml(body.replace("'", '"'), head)}, {f"Images/{name}.png": b"it"})
    assert shown(opened(tmp_path_factory.getbasetemp(), data)) == [b"it"]


@settings(max_examples=200)
@given(data=st.one_of(st.binary(max_size=80), st.text("<>/&;!-[]?=\"' abimgsrchtml:\n", max_size=120).map(str.encode)))
def test_any_bytes_are_a_document(data: bytes) -> None:
    from defusedxml.common import DefusedXmlException

    try:
        root = parse_document(data)
    except DefusedXmlException:
        return
    assert list(root.iter())
