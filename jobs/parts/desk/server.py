"""The desk's server: the page, its data and pictures, and the changes that it makes."""

import asyncio
import html
import json
import logging
import signal
import webbrowser
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any, get_args

from aiohttp import web

from datasets.errors import BadUsageError, MangahueError, ObjectNotFoundError
from datasets.page import format_of
from jobs.parts.desk.apply import Applier, cluster_line
from jobs.parts.desk.catalogue import Catalogue
from jobs.parts.desk.config import DeskConfig
from jobs.parts.desk.contents import Contents
from jobs.parts.desk.edits import Edits, Given
from jobs.parts.desk.guard import Guard
from jobs.parts.desk.marking import Marking, Reach
from jobs.parts.desk.pictures import Pictures
from jobs.parts.desk.recolor import Recolorer
from jobs.parts.ledger.ledger import PROGRESS
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.local import LocalPool
from jobs.parts.runtime.outcome import Exit

log = logging.getLogger("mangahue")
FRONT = files("jobs.parts.desk").joinpath("front")
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_FRONT = {file.name for file in FRONT.iterdir() if file.name.rpartition(".")[2] in _TYPES}
_FOREVER = "private, max-age=31536000, immutable"  # of what has its digest in its address
_FOLLOWS_NONE = "The model of this folder takes no hints, and follows no pages."
_MOST_BODY = 1 << 20  # bytes of a change


def serve(catalogue: Catalogue, config: DeskConfig) -> Exit:
    """Answer until the process is told to stop. Raises BadUsageError where the port is taken."""
    with LocalPool() as pool:
        asyncio.run(_serve(application(catalogue, config, pool), config))
    return Exit.DONE


async def _serve(app: web.Application, config: DeskConfig) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, config.host, config.port).start()
        except OSError as error:
            raise BadUsageError(f"--host {config.host} --port {config.port}: {error.strerror}; take another") from error
        host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{host}:{runner.addresses[0][1]}/"
        log.info("the desk is at %s%s; Ctrl-C ends it", address, "?token=..." if config.token else "")
        if config.open_browser:
            webbrowser.open(f"{address}?token={config.token}" if config.token else address)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
    finally:
        await runner.cleanup()


def application(catalogue: Catalogue, config: DeskConfig, pool: LocalPool) -> web.Application:
    """The server as an application of aiohttp."""
    guard = Guard(config)
    desk = Desk(catalogue, pool, guard.key)
    app = web.Application(middlewares=[guard.middleware(), _errors], client_max_size=_MOST_BODY)
    app.add_routes(
        [
            web.get("/", desk.index),
            web.get("/front/{name}", desk.front),
            web.get("/api/desk", desk.overview),
            web.get("/api/swatches", desk.swatches),
            web.get("/api/cast", desk.cast),
            web.get("/api/changes", desk.changes),
            web.get("/api/job", desk.job),
            web.get("/api/palette/{number}", desk.examples),
            web.get("/api/chapters/{chapter}", desk.chapter),
            web.get("/pictures/{chapter}/{page}/{kind}", desk.picture),
            web.post("/api/chapters/{chapter}/{page}/recolor", desk.recolor),
            web.post("/api/chapters/{chapter}/{page}/look", desk.look),
            web.put("/api/chapters/{chapter}/{page}/hints", desk.put_hints),
            web.put("/api/chapters/{chapter}/{page}/reference", desk.put_reference),
            web.put("/api/palette", desk.put_palette),
            web.put("/api/cast", desk.put_cast),
            web.post("/api/apply", desk.apply),
        ]
    )

    async def close(_: web.Application) -> None:
        await desk.close()

    app.on_cleanup.append(close)
    return app


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """What went wrong, as text for the page."""
    try:
        return await handler(request)
    except (KeyError, ObjectNotFoundError) as error:
        return web.Response(status=HTTPStatus.NOT_FOUND, text=f"not there any more: {error}")
    except BadUsageError as error:
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=str(error))
    except (MangahueError, OSError) as error:
        log.warning("%s", error)
        return web.Response(status=HTTPStatus.BAD_GATEWAY, text=str(error))


class Desk:
    """Answers the page's requests.

    key: that the page sends with each change.
    """

    def __init__(self, catalogue: Catalogue, pool: LocalPool, key: str) -> None:
        self._catalogue, self._pool, self._key = catalogue, pool, key
        self._pictures, self._marking = Pictures(catalogue), Marking(catalogue)
        self._edits = Edits(catalogue, self._marking)
        self._contents = Contents(catalogue, self._edits, self._marking)
        self._recolorer = Recolorer(catalogue, self._pictures, pool, self._marking)
        self._known_progress = read_json(catalogue.ledger.storage, PROGRESS)
        self._applier = Applier(catalogue.config, self._refresh)

    async def close(self) -> None:
        """Stop what is under way."""
        await self._applier.stop()

    async def index(self, request: web.Request) -> web.Response:
        page = FRONT.joinpath("index.html").read_text("utf-8").replace("{{ key }}", html.escape(self._key))
        return web.Response(text=page, content_type="text/html")

    async def front(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _FRONT:
            raise KeyError(name)
        kind = _TYPES[name.rpartition(".")[2]]
        return web.Response(body=FRONT.joinpath(name).read_bytes(), content_type=kind, charset="utf-8")

    async def overview(self, request: web.Request) -> web.Response:
        """All but the pages: chapters, palette, and how far a job is that is at work."""
        progress = await asyncio.to_thread(self._progress)
        whole = await asyncio.to_thread(self._contents.overview)
        return _json({**whole, "progress": progress, "cluster": cluster_line(self._catalogue.config)})

    async def swatches(self, request: web.Request) -> web.Response:
        """Colours to choose from, and whether hints can be given; once the model is loaded."""
        ready = await self._recolorer.ready()
        pages = await asyncio.to_thread(self._contents.sampled)
        found = await self._step(self._pictures.swatches, pages)
        why = ready.why_not or ("" if ready.takes_hints else "The model of this folder takes no hints.")
        return _json({"swatches": found, "hints": not why, "why": why})

    async def chapter(self, request: web.Request) -> web.Response:
        """The pages of a chapter, with their hints."""
        return _json(await asyncio.to_thread(self._contents.pages, request.match_info["chapter"]))

    async def picture(self, request: web.Request) -> web.Response:
        """before, after or preview of a page; words, panels or areas found on it."""
        chapter, number = _page_of(request)
        data, media = await self._step(self._pictures.of, chapter, number, request.match_info["kind"])
        return web.Response(body=data, content_type=media, headers={"Cache-Control": _FOREVER})

    async def recolor(self, request: web.Request) -> web.Response:
        """A page coloured again with these hints and colours of the palette, which are not kept."""
        chapter, number = _page_of(request)
        body = await _body(request)
        name = await asyncio.to_thread(self._contents.hint_name, chapter, number)
        if "hints" in body:
            hints = await asyncio.to_thread(self._edits.as_hints, [Given.of(value) for value in body["hints"]])
        else:
            hints = await asyncio.to_thread(self._edits.of_page, name)
        palette = await asyncio.to_thread(self._edits.edited, _edits_of(body)) if "palette" in body else None
        palette = palette or await asyncio.to_thread(self._edits.palette)
        data = await self._recolorer.color(chapter, number, hints, palette)
        return web.Response(body=data, content_type=f"image/{format_of(data)}")

    async def put_reference(self, request: web.Request) -> web.Response:
        """Mark a page, as it is shown now, as a reference for its chapter or for the series; or take the mark back."""
        chapter, number = _page_of(request)
        reach = _reach_of(await _body(request))
        rel, page = self._catalogue.chapter(chapter).rel, self._catalogue.page(chapter, number).name
        picture = await self._kept_picture(chapter, number) if reach else ""
        await asyncio.to_thread(self._edits.keep)
        await asyncio.to_thread(self._marking.set, rel, page, reach, picture)
        return await self.changes(request)

    async def _kept_picture(self, chapter: str, number: int) -> str:
        """Keep a page's picture as a reference. Returns its name."""
        ready = await self._recolorer.ready()
        if not ready.takes_hints:
            raise BadUsageError(ready.why_not or _FOLLOWS_NONE)
        if (chapter, number) in await asyncio.to_thread(self._edits.changes):
            hints = await asyncio.to_thread(self._edits.of_page, self._contents.hint_name(chapter, number))
            palette = await asyncio.to_thread(self._edits.palette)
            data = await self._recolorer.color(chapter, number, hints, palette)
        else:
            data = await self._step(self._pictures.published, chapter, number)
        pair = await self._step(self._marking.references.learn, data)
        if pair is None:
            raise BadUsageError("the page has no colour that others could follow")
        described = await self._recolorer.describe(pair[0])
        return await asyncio.to_thread(self._marking.keep, data, pair, described)

    async def look(self, request: web.Request) -> web.Response:
        """Look at a page while somebody chooses a colour for it."""
        await self._recolorer.look(*_page_of(request))
        return _json(None)

    async def put_hints(self, request: web.Request) -> web.Response:
        """Keep the hints of a page."""
        chapter, number = _page_of(request)
        given = [Given.of(value) for value in (await _body(request)).get("hints", [])]
        name = await asyncio.to_thread(self._contents.hint_name, chapter, number)
        await asyncio.to_thread(self._edits.put, name, given)
        return await self.changes(request)

    async def put_palette(self, request: web.Request) -> web.Response:
        """Keep other colours for some of the palette."""
        await asyncio.to_thread(self._edits.put_palette, _edits_of(await _body(request)))
        return await self.changes(request)

    async def cast(self, request: web.Request) -> web.Response:
        """The colours that have a name, and how many pages have a hint that gives it."""
        return _json(await asyncio.to_thread(self._contents.cast))

    async def put_cast(self, request: web.Request) -> web.Response:
        """Give a name of the cast a colour, add one, or take one out. Answers with the cast and the changes."""
        body = await _body(request)
        name, colour = body.get("name"), body.get("colour")
        if not isinstance(name, str) or not isinstance(colour, str):
            raise BadUsageError('give a name and its colour: {"name": "hair of Aiko", "colour": "#7a3b20"}, or ""')
        await asyncio.to_thread(self._edits.put_cast, name, colour)
        cast, changes = await asyncio.to_thread(lambda: (self._contents.cast(), self._edits.changes()))
        return _json({"cast": cast, "changes": [list(page) for page in changes]})

    async def examples(self, request: web.Request) -> web.Response:
        """Up to three pages that use a colour of the palette most."""
        return _json(await asyncio.to_thread(self._contents.examples, _number(request.match_info["number"])))

    async def changes(self, request: web.Request) -> web.Response:
        """The pages that the next run does again."""
        return _json([list(page) for page in await asyncio.to_thread(self._edits.changes)])

    async def apply(self, request: web.Request) -> web.Response:
        """Run the job."""
        await asyncio.to_thread(self._edits.keep)
        await self._applier.start()
        return await self.job(request)

    async def job(self, request: web.Request) -> web.Response:
        """What the run does that was started here; null where none was."""
        run = self._applier.run
        return _json(None if run is None else {"code": run.code, "lines": list(run.lines)})

    async def _step(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._pool.in_step_thread(function, *arguments))

    def _progress(self) -> dict[str, Any] | None:
        """What a job that is at work, or was, says of itself. If that is news, there are other chapters too."""
        progress = read_json(self._catalogue.ledger.storage, PROGRESS)
        if progress != self._known_progress:
            self._known_progress = progress
            self._refresh()
        return progress or None

    def _refresh(self) -> None:
        self._catalogue.refresh()
        self._recolorer.forget()


def _page_of(request: web.Request) -> tuple[str, int]:
    return request.match_info["chapter"], _number(request.match_info["page"])


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise KeyError(text)
    return int(text)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadUsageError(f"no JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("hints", []), list):
        raise BadUsageError("give an object, with a list of hints")
    return body


def _reach_of(body: dict[str, Any]) -> Reach:
    """{"for": "chapter"}, what a page is a reference for."""
    for reach in get_args(Reach):
        if body.get("for") == reach:
            return reach
    raise BadUsageError('give what it is a reference for: {"for": "chapter"}, "series", or "" for nothing')


def _edits_of(body: dict[str, Any]) -> dict[int, str]:
    """{"palette": {"3": "#aabbcc"}} as numbers and colours."""
    try:
        return {int(number): str(css) for number, css in body["palette"].items()}
    except (KeyError, AttributeError, ValueError) as error:
        raise BadUsageError('give the colours by number: {"palette": {"3": "#aabbcc"}}') from error


def _json(value: Any) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")
