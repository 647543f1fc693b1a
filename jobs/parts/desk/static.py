"""The static form of the desk: a folder with the same page, for who has no Python at hand.

It opens from disk, where browsers load no modules. So the page's modules are written into one script.
"""

import base64
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from datasets.errors import BadUsageError, MangahueError
from datasets.storage import Storage, open_storage
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.desk.contents import Contents
from jobs.parts.desk.edits import Edits
from jobs.parts.desk.marking import Marking
from jobs.parts.desk.pictures import Pictures
from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.progress import Meter

log = logging.getLogger("mangahue")
FRONT = files("jobs.parts.desk").joinpath("front")
_MODULES = (
    "dom",
    "asked_static",
    "virtual",
    "viewer",
    "cast",
    "hints",
    "palette",
    "references",
    "changes",
    "main",
)  # each after what it needs
_IMPORT = re.compile(r"^import .*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def write_static(catalogue: Catalogue, uri: str) -> Exit:
    """Write the static form. Pages whose pictures can't be had are left out of it, and named.

    uri: of the folder.
    Raises BadUsageError where something is there already.
    """
    out = open_storage(uri)
    if next(out.list(), None) is not None:
        raise BadUsageError(f"--static {uri} is not empty; give a new folder")
    marking = Marking(catalogue)
    edits = Edits(catalogue, marking)
    contents = Contents(catalogue, edits, marking)
    with LocalPool() as pool:
        writer = _PictureWriter(Pictures(catalogue), out)
        chapters = {chapter: contents.pages(chapter) for chapter in catalogue.chapters}
        wanted = [(chapter, page["number"]) for chapter, listed in chapters.items() for page in listed["pages"]]
        with Meter("static", len(wanted), "pages") as meter:
            for (chapter, number), wrong in zip(wanted, pool.map(writer.put, wanted), strict=True):
                if wrong:
                    log.warning("%s, member %d: %s", chapters[chapter]["rel"], number, wrong)
                meter.advance(1, 1)
        swatches = next(pool.map(writer.pictures.swatches, [contents.sampled()]))
    data = _data(catalogue, contents, edits, chapters, swatches)
    out.put("index.html", page_of(data).encode(), content_type="text/html; charset=utf-8")
    log.info("%d pages -> %s/index.html", len(wanted), out.uri)
    return Exit.DONE


def page_of(data: dict[str, Any]) -> str:
    """The page as one file, with its data. Nothing in the data can end the element that holds it."""
    script = "(() => {\n" + "".join(_modules()) + "})();\n"
    look = FRONT.joinpath("desk.css").read_text("utf-8")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(look)}'; img-src 'self' file: blob: "
        "data:; base-uri 'none'; form-action 'none'"
    )
    safe = json.dumps(data).replace("<", "\\u003c")
    embedded = f'<script type="application/json" id="desk-data">{safe}</script>'
    replaced = {
        '<meta name="desk-key" content="{{ key }}">': f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<link rel="icon" href="/front/icon.svg">\n': "",
        '<link rel="stylesheet" href="/front/desk.css">': f"<style>{look}</style>",
        '<script type="module" src="/front/main.js"></script>\n': "",
        "</body>": f"{embedded}<script>{script}</script></body>",
    }
    page = FRONT.joinpath("index.html").read_text("utf-8")
    for plain, other in replaced.items():
        page = page.replace(plain, other)
    return page


def _modules() -> Iterator[str]:
    for name in _MODULES:
        yield _EXPORT.sub("", _IMPORT.sub("", FRONT.joinpath(f"{name}.js").read_text("utf-8")))


def _digest(text: str) -> str:
    """A source of a Content-Security-Policy that allows this very text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _data(
    catalogue: Catalogue, contents: Contents, edits: Edits, chapters: dict[str, Any], swatches: list[str]
) -> dict[str, Any]:
    """What `asked_static.js` answers from."""
    overview, palette = contents.overview(), edits.palette()
    for chapter, listed in chapters.items():
        for page in listed["pages"]:
            page["hint_name"] = contents.hint_name(chapter, page["number"])
    takes_hints = catalogue.takes_hints
    return {
        "desk": {**overview, "progress": None, "cluster": ""},
        "swatches": {
            "swatches": swatches,
            "hints": takes_hints,
            "why": "" if takes_hints else "The model of this folder takes no hints.",
        },
        "chapters": chapters,
        "palette": None if palette is None else palette.to_dict(),
        "cast": contents.cast(),
        "examples": {color["number"]: contents.examples(color["number"]) for color in overview["palette"]},
        "hints": {name: [vars(each) for each in given] for name, given in edits.by_page().items()},
    }


class _PictureWriter:
    """Writes the pictures of pages."""

    def __init__(self, pictures: Pictures, out: Storage) -> None:
        self.pictures, self._out = pictures, out

    def put(self, page: tuple[str, int]) -> str:
        """Write a page's pictures. Returns what went wrong; "" for nothing."""
        chapter, number = page
        for kind in ("preview", "before", "after"):
            try:
                data, media = self.pictures.of(chapter, number, kind)
            except MangahueError as error:
                return str(error)
            self._out.put(f"pictures/{chapter}/{number}-{kind}.jpg", data, content_type=media)
        return ""
