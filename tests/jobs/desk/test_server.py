"""What the desk's server answers: data, pictures, changes."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.desk.catalogue import id_of, open_catalogue
from jobs.parts.ledger.ledger import CAST, HINTS, HOME, PALETTE, PROGRESS, REFERENCES
from tests.archives import packed, zipped
from tests.jobs.colorize.chapters import color_page, gray_page, members_of
from tests.jobs.colorize.library import Library, published
from tests.jobs.desk.desk import Client, key_of, library_of, visit

CH01, CH02 = id_of("ch01.cbz"), id_of("ch02.cbz")
RED = {"x": 20, "y": 28, "radius": 6, "colour": "#d02040"}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return library_of(tmp_path)


async def as_json(client: Client, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def put(client: Client, path: str, body: Any, method: str = "put") -> tuple[int, bytes]:
    answer = await client.request(method, path, json=body, headers=await key_of(client))
    return answer.status, await answer.read()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_chapters_and_pages_are_listed(library: Library) -> None:
    async def look(client: Client) -> None:
        told = await as_json(client, "/api/desk")
        assert [chapter["rel"] for chapter in told["chapters"]] == ["ch01.cbz", "ch02.cbz"]
        assert told["chapters"][0]["coloured"] == 3
        assert (told["palette"], told["cluster"]) == ([], "")
        pages = (await as_json(client, f"/api/chapters/{CH01}"))["pages"]
        assert [(page["name"], page["action"], page["hints"]) for page in pages] == [
            (f"{n}.png", "coloured", []) for n in range(3)
        ]
        assert await as_json(client, "/api/changes") == []

    visit(library.out, look)


def test_pictures_are_those_of_source_and_output(library: Library) -> None:
    async def look(client: Client) -> None:
        before, after, small = [
            await (await client.get(f"/pictures/{CH01}/1/{kind}")).read() for kind in ("before", "after", "preview")
        ]
        assert np.abs(pixels(before) - pixels(gray_page(11))).mean() < 3
        assert after == published(library, "ch01.cbz")["1.jpg"]
        assert np.abs(pixels(small) - pixels(after)).mean() < 10  # the page is as small as a preview
        layer = await client.get(f"/pictures/{CH01}/1/panels")
        assert layer.content_type == "image/svg+xml"

    visit(library.out, look)


def test_the_preview_is_that_which_the_job_kept(library: Library) -> None:
    """So that a bucket's archives are not read for it."""
    first = library.ledger.manifest("ch01.cbz").pages[0]  # type: ignore[union-attr]
    kept = f"{HOME}/{first.preview}.jpg"
    open_storage(str(library.out)).put(kept, b"kept")

    async def look(client: Client) -> bytes:
        return await (await client.get(f"/pictures/{CH01}/0/preview")).read()

    assert visit(library.out, look) == b"kept"
    open_storage(str(library.out)).delete(kept)
    assert visit(library.out, look).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "path",
    [
        "/front/../server.py", "/front/index.html", "/front/%2e%2e%2fserver.py", "/pictures/none/0/after",
        f"/pictures/{CH01}/99/after", f"/pictures/{CH01}/-1/after", f"/pictures/{CH01}/x/after",
        f"/pictures/{CH01}/0/other", "/api/chapters/..%2f..", "/etc/passwd",
    ],
)  # fmt: skip
def test_what_is_none_of_its_pages_is_not_found(library: Library, path: str) -> None:
    async def look(client: Client) -> int:
        return (await client.get(path)).status

    assert visit(library.out, look) == 404


def test_a_hint_is_kept_and_the_page_is_shown_as_the_job_makes_it(library: Library) -> None:
    plain = published(library, "ch01.cbz")

    async def change(client: Client) -> bytes:
        status, changes = await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": [RED]})
        assert (status, json.loads(changes)) == (200, [[CH01, 1]])
        pages = (await as_json(client, f"/api/chapters/{CH01}"))["pages"]
        assert pages[1]["hints"] == [RED]
        return (await put(client, f"/api/chapters/{CH01}/1/recolor", {}, "post"))[1]

    shown = visit(library.out, change)
    rows = list(csv.reader(io.StringIO((library.out / HINTS).read_text())))
    assert rows == [["page", "x", "y", "radius", "colour"], ["ch01.cbz/1.png", "20", "28", "6", "#d02040"]]
    library.run(backend="torch")
    after = published(library, "ch01.cbz")
    assert after["1.jpg"] == shown != plain["1.jpg"]
    assert {name for name in after if after[name] != plain[name]} == {"1.jpg"}

    async def look_again(client: Client) -> Any:
        return await as_json(client, "/api/changes")

    assert visit(library.out, look_again) == []


def test_hints_that_the_job_was_given_are_the_first_ones(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("page,x,y,radius,colour\nch02.cbz/0.png,5,6,7,teal\n")
    library = library_of(tmp_path, hints=str(tmp_path / "h.csv"))

    async def change(client: Client) -> None:
        assert await as_json(client, "/api/changes") == []
        await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": [RED]})
        assert await as_json(client, "/api/changes") == [[CH01, 1]]
        await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": []})

    visit(library.out, change)
    assert (library.out / HINTS).read_text() == "page,x,y,radius,colour\nch02.cbz/0.png,5,6,7,teal\n"


def test_a_colour_of_the_cast_is_changed_for_all_spots_that_have_it(library: Library) -> None:
    named = {**RED, "colour": "fur of Momo"}

    async def change(client: Client) -> None:
        assert await as_json(client, "/api/cast") == []
        assert (await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": [named]}))[0] == 400  # no such name yet
        _, told = await put(client, "/api/cast", {"name": "fur of Momo", "colour": "gold"})
        assert json.loads(told) == {"cast": [{"name": "fur of Momo", "css": "#ffd700", "pages": 0}], "changes": []}
        await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": [{**RED, "colour": " fur of  Momo "}]})
        await put(client, f"/api/chapters/{CH02}/0/hints", {"hints": [named, {**RED, "x": 5, "y": 5}]})
        await put(client, f"/api/chapters/{CH02}/2/hints", {"hints": [RED]})

    visit(library.out, change)
    library.run(backend="torch")
    before = published(library, "ch02.cbz")

    async def change_one(client: Client) -> bytes:
        _, told = await put(client, "/api/cast", {"name": "fur of Momo", "colour": "#3060c0"})
        assert json.loads(told)["cast"] == [{"name": "fur of Momo", "css": "#3060c0", "pages": 2}]
        assert json.loads(told)["changes"] == [[CH01, 1], [CH02, 0]]
        return (await put(client, f"/api/chapters/{CH02}/0/recolor", {}, "post"))[1]

    shown = visit(library.out, change_one)
    library.run(backend="torch")
    after = published(library, "ch02.cbz")
    assert {name for name in after if after[name] != before[name]} == {"0.jpg"}
    assert after["0.jpg"] == shown

    async def remove(client: Client) -> None:
        _, told = await put(client, "/api/cast", {"name": "fur of Momo", "colour": ""})
        assert json.loads(told) == {"cast": [], "changes": []}  # its spots keep their colour
        pages = (await as_json(client, f"/api/chapters/{CH01}"))["pages"]
        assert pages[1]["hints"] == [{**RED, "colour": "#3060c0"}]

    visit(library.out, remove)
    assert (library.out / CAST).read_text() == "name,colour\n"


def test_a_name_that_hints_still_give_can_be_given_back(library: Library) -> None:
    """A file that was edited by hand, or by another desk at the same moment."""
    out = open_storage(str(library.out))
    out.put(HINTS, "page,x,y,radius,colour\nch01.cbz/1.png,20,28,6,fur of\u3000Momo\n".encode())
    out.put(CAST, b"name,colour\n")

    async def mend(client: Client) -> None:
        assert (await client.get("/api/changes")).status == 400
        status, told = await put(client, "/api/cast", {"name": "fur\u00a0of  Momo", "colour": "gold"})
        assert (status, json.loads(told)["changes"]) == (200, [[CH01, 1]])

    visit(library.out, mend)


def test_hints_of_the_job_go_with_its_cast(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("page,x,y,radius,colour\nch02.cbz/0.png,5,6,7,sea\n")
    (tmp_path / "c.csv").write_text("name,colour\nsea,teal\n")
    library = library_of(tmp_path, hints=str(tmp_path / "h.csv"), cast=str(tmp_path / "c.csv"))
    open_storage(str(library.out)).put(CAST, b"name,colour\nsky,navy\n")  # of a run before

    async def look(client: Client) -> None:
        assert [each["name"] for each in await as_json(client, "/api/cast")] == ["sea"]
        assert await as_json(client, "/api/changes") == []
        _, told = await put(client, "/api/cast", {"name": "moon", "colour": "gold"})
        assert [each["name"] for each in json.loads(told)["cast"]] == ["sea", "moon"]

    visit(library.out, look)
    for file in ("h.csv", "c.csv"):
        (tmp_path / file).unlink()  # the desk keeps its own

    async def recolor(client: Client) -> int:
        return (await put(client, f"/api/chapters/{CH02}/0/recolor", {}, "post"))[0]

    assert visit(library.out, recolor) == 200


def test_a_mark_keeps_hints_and_cast_of_the_job(tmp_path: Path) -> None:
    """The line for a cluster leaves them out, and finds them in the output."""
    lines, names = "page,x,y,radius,colour\nch02.cbz/0.png,5,6,7,sea\n", "name,colour\nsea,teal\n"
    (tmp_path / "h.csv").write_text(lines)
    (tmp_path / "c.csv").write_text(names)
    library = library_of(tmp_path, hints=str(tmp_path / "h.csv"), cast=str(tmp_path / "c.csv"))

    async def change(client: Client) -> None:
        await mark(client, CH01, 0, "chapter")

    visit(library.out, change)
    assert ((library.out / HINTS).read_text(), (library.out / CAST).read_text()) == (lines, names)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "sea"}, {"name": 1, "colour": "red"}, {"name": "", "colour": "red"},
        {"name": "a\0b", "colour": "red"}, {"name": "red", "colour": "red"}, {"name": "sea", "colour": "blueish"},
        {"name": "a" * 81, "colour": "red"}, {"name": "sea", "colour": "rgb(300,0,0)"}, {"name": "sea", "colour": ""},
    ],
)  # fmt: skip
def test_what_is_no_name_or_no_colour_is_refused(library: Library, body: Any) -> None:
    async def change(client: Client) -> int:
        return (await put(client, "/api/cast", body))[0]

    assert visit(library.out, change) == 400
    assert not (library.out / CAST).exists()


@pytest.mark.parametrize(
    "hints",
    [
        "x", [1], [{}], [{**RED, "x": "a"}], [{**RED, "x": -1}], [{**RED, "x": float("nan")}], [{**RED, "radius": 0}],
        [{**RED, "colour": "carrot"}], [{**RED, "colour": "red\n=1+1,2,3,4,5"}], [RED] * 201,
    ],
)  # fmt: skip
def test_what_is_no_hint_is_refused(library: Library, hints: Any) -> None:
    async def change(client: Client) -> int:
        return (await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": hints}))[0]

    assert visit(library.out, change) == 400
    assert not (library.out / HINTS).exists()


def test_hostile_names_are_text(tmp_path: Path) -> None:
    """Of a chapter and of a page: markup, a formula, quotes, lines, and what can't be shown."""
    name = "<img src=x onerror=alert(1)>.cbz"
    page = "=\"a\",'b'\u202e<b>\n頁.png"
    library = library_of(tmp_path, chapters=1)
    library.put(f"in/{name}", zipped({page: gray_page(1)}))
    library.run(backend="torch")

    async def look(client: Client) -> None:
        chapters = (await as_json(client, "/api/desk"))["chapters"]
        assert name in [chapter["rel"] for chapter in chapters]
        pages = (await as_json(client, f"/api/chapters/{id_of(name)}"))["pages"]
        status, changes = await put(client, f"/api/chapters/{id_of(name)}/0/hints", {"hints": [RED]})
        assert status == 200, changes
        assert json.loads(changes) == [[id_of(name), 0]]
        assert (await client.get(f"/pictures/{id_of(name)}/0/after")).status == 200
        assert pages[0]["name"]

    visit(library.out, look)


def test_pages_of_other_formats_are_shown(tmp_path: Path) -> None:
    """A solid archive; a TIFF that is in colour already, and stays one; a folder; a picture."""
    library = library_of(tmp_path, chapters=1)
    library.put("in/s.7z", packed({"1.png": gray_page(1), "2.tiff": color_page("TIFF")}, tmp_path / "s", "7zip"))
    library.put("in/folder/1.png", gray_page(3))
    library.run(backend="torch")

    async def look(client: Client) -> None:
        for rel, number in (("s.7z", 0), ("s.7z", 1), ("folder", 0)):
            for kind in ("before", "after", "preview"):
                answer = await client.get(f"/pictures/{id_of(rel)}/{number}/{kind}")
                assert answer.status == 200, await answer.text()
                assert answer.content_type == "image/jpeg"
                assert pixels(await answer.read()).shape == (56, 40, 3)

    visit(library.out, look)


def test_a_page_that_was_altered_is_told(library: Library) -> None:
    files = {**members_of((library.out / "ch01.cbz").read_bytes()), "1.jpg": color_page("JPEG")}
    (library.out / "ch01.cbz").write_bytes(zipped(files))

    async def look(client: Client) -> tuple[int, str]:
        answer = await client.get(f"/pictures/{CH01}/1/after")
        return answer.status, await answer.text()

    status, told = visit(library.out, look)
    assert status == 502
    assert "ALTERED" in told


def test_a_source_that_is_gone_leaves_what_was_published(library: Library) -> None:
    (library.home / "in").rename(library.home / "elsewhere")

    async def look(client: Client) -> list[int]:
        return [(await client.get(f"/pictures/{CH01}/1/{kind}")).status for kind in ("before", "after", "preview")]

    assert visit(library.out, look) == [400, 200, 200]


def test_the_palette_is_changed(tmp_path: Path) -> None:
    names = {"dark": 25, "light": 75}
    colors = [{"name": n, "ab": [20, 5], "centre": [light, 10, 5, 1], "weight": 0.5} for n, light in names.items()]
    (tmp_path / "p.json").write_text(json.dumps({"colors": colors}))
    library = library_of(tmp_path, palette=str(tmp_path / "p.json"))
    used = [page for page in library.ledger.manifest("ch01.cbz").pages if "1" in page.colors]  # type: ignore[union-attr]

    async def change(client: Client) -> None:
        told = await as_json(client, "/api/desk")
        assert [color["name"] for color in told["palette"]] == ["dark", "light"]
        assert told["palette"][1]["pages"] >= len(used) > 0
        examples = await as_json(client, "/api/palette/1")
        assert 0 < len(examples) <= 3
        chapter, number, _ = examples[0]
        path = f"/api/chapters/{chapter}/{number}/recolor"
        edit = {"palette": {"1": "#2040d0"}}
        before, after = (await put(client, path, {}, "post"))[1], (await put(client, path, edit, "post"))[1]
        assert before != after
        assert await as_json(client, "/api/changes") == []  # it was a look
        status, changes = await put(client, "/api/palette", edit)
        assert status == 200
        assert [chapter, number] in json.loads(changes)
        assert (await put(client, path, {}, "post"))[1] == after
        assert (await put(client, "/api/palette", {"palette": {"7": "#000000"}}))[0] == 400

    visit(library.out, change)
    kept = json.loads((library.out / PALETTE).read_text())["colors"]
    assert kept[0] == {**colors[0], "ab": [20.0, 5.0], "centre": [25.0, 10.0, 5.0, 1.0]}
    assert kept[1]["ab"][1] < -60


def test_a_job_at_work_is_told_and_its_chapters_are_there(library: Library) -> None:
    async def look(client: Client) -> None:
        assert (await as_json(client, "/api/desk"))["progress"] is None
        library.put("in/ch03.cbz", zipped({"1.png": gray_page(9)}))
        library.run(backend="torch")
        progress = {"ended": False, "updated": "2026-01-31T12:00:00Z", "done": 1, "chapters": 2}
        open_storage(str(library.out)).put(PROGRESS, json.dumps(progress).encode())
        told = await as_json(client, "/api/desk")
        assert told["progress"] == progress
        assert [chapter["rel"] for chapter in told["chapters"]] == ["ch01.cbz", "ch02.cbz", "ch03.cbz"]

    visit(library.out, look)


def test_a_folder_of_other_weights_is_looked_at_and_not_coloured(library: Library) -> None:
    job = json.loads((library.out / HOME / "job.json").read_text())
    (library.out / HOME / "job.json").write_text(json.dumps({**job, "fingerprint": "0" * 64}))

    async def look(client: Client) -> None:
        told = await as_json(client, "/api/swatches")
        assert not told["hints"]
        assert "are not those that" in told["why"]
        assert told["swatches"]
        assert (await put(client, f"/api/chapters/{CH01}/1/recolor", {}, "post"))[0] == 400

    visit(library.out, look)


def test_a_folder_that_no_job_has_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsageError, match=r"has no _mangahue/job.json"):
        open_catalogue(str(tmp_path))


CH02, CH03 = id_of("ch02.cbz"), id_of("ch03.cbz")


async def mark(client: Client, chapter: str, number: int, reach: str) -> list[list[Any]]:
    """Mark a page. Returns the pages that the next run does again."""
    status, changes = await put(client, f"/api/chapters/{chapter}/{number}/reference", {"for": reach})
    assert status == 200, changes
    return json.loads(changes)


def test_a_page_is_marked_as_a_reference_and_pages_are_shown_as_the_job_makes_them(library: Library) -> None:
    """To this model all pages are alike."""
    plain = published(library, "ch01.cbz")

    async def change(client: Client) -> bytes:
        assert await mark(client, CH01, 0, "series") == [[CH01, 1], [CH01, 2], [CH02, 0], [CH02, 1], [CH02, 2]]
        assert await mark(client, CH01, 0, "chapter") == [[CH01, 1], [CH01, 2]]
        pages = (await as_json(client, f"/api/chapters/{CH01}"))["pages"]
        assert [page["reference"] for page in pages] == ["chapter", "", ""]
        return (await put(client, f"/api/chapters/{CH01}/1/recolor", {}, "post"))[1]

    shown = visit(library.out, change)
    assert shown != plain["1.jpg"]
    library.run(backend="torch")
    after = published(library, "ch01.cbz")
    assert after["1.jpg"] == shown
    assert {name for name in after if after[name] != plain[name]} == {"1.jpg", "2.jpg"}
    assert library.computed == {"ch01.cbz"}

    async def take_back(client: Client) -> None:
        assert await as_json(client, "/api/changes") == []
        assert await mark(client, CH01, 0, "") == [[CH01, 1], [CH01, 2]]
        assert (await put(client, f"/api/chapters/{CH01}/1/recolor", {}, "post"))[1] == plain["1.jpg"]

    visit(library.out, take_back)
    library.run(backend="torch")
    assert published(library, "ch01.cbz") == plain


def test_what_is_marked_is_the_page_as_it_is_shown(library: Library) -> None:
    """With the hints that are not applied yet; and a page that came in colour, as it came."""
    library.put("in/ch03.cbz", zipped({"1.png": gray_page(9), "2.png": color_page()}))
    library.run(backend="torch")

    def pictures() -> set[bytes]:
        return {path.read_bytes() for path in (library.out / HOME / "references").iterdir()}

    async def change(client: Client) -> bytes:
        await put(client, f"/api/chapters/{CH01}/1/hints", {"hints": [RED]})
        shown = (await put(client, f"/api/chapters/{CH01}/1/recolor", {}, "post"))[1]
        await mark(client, CH01, 1, "chapter")
        changes = await mark(client, CH03, 1, "chapter")
        assert changes == [[CH01, 0], [CH01, 1], [CH01, 2], [CH03, 0]]
        return shown

    shown = visit(library.out, change)
    assert shown in pictures()
    assert color_page() in pictures()


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        (f"{CH01}/0", {"for": "all"}, 400), (f"{CH01}/0", {"for": ["series"]}, 400), (f"{CH01}/0", {}, 400),
        (f"{CH01}/9", {"for": "series"}, 404), ("none/0", {"for": "series"}, 404),
    ],
)  # fmt: skip
def test_what_is_no_mark_is_refused(library: Library, path: str, body: dict[str, Any], wanted: int) -> None:
    async def change(client: Client) -> int:
        return (await put(client, f"/api/chapters/{path}/reference", body))[0]

    assert visit(library.out, change) == wanted
    assert not (library.out / REFERENCES).exists()


def test_a_page_that_can_not_be_read_is_no_reference(library: Library) -> None:
    library.put("in/ch03.cbz", zipped({"1.png": b"no picture"}))
    library.run(backend="torch")

    async def change(client: Client) -> int:
        return (await put(client, f"/api/chapters/{CH03}/0/reference", {"for": "chapter"}))[0]

    assert visit(library.out, change) == 502
    assert not (library.out / REFERENCES).exists()
