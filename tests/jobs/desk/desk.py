"""A desk for tests: an output folder that was coloured without Ray, and a server for it in a thread of its own."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from jobs.parts.desk.catalogue import open_catalogue
from jobs.parts.desk.config import DeskConfig
from jobs.parts.desk.guard import KEY_HEADER
from jobs.parts.desk.server import application
from jobs.parts.runtime.local import LocalPool
from tests.archives import zipped
from tests.jobs.colorize.chapters import gray_page
from tests.jobs.colorize.library import Library
from tests.untrained import publish_untrained

T = TypeVar("T")
Client = TestClient[web.Request, web.Application]


def library_of(home: Path, chapters: int = 2, pages: int = 3, **options: Any) -> Library:
    """A library that was coloured by a small untrained model which takes hints."""
    publish_untrained(home / "model", "exemplar", base_channels=4, image_size=32)
    library = Library(home, home / "model")
    for chapter in range(1, chapters + 1):
        files = {f"{n}.png": gray_page(10 * chapter + n) for n in range(pages)}
        library.put(f"in/ch{chapter:02}.cbz", zipped(files))
    library.run(backend="torch", **options)
    return library


def visit(out: Path | str, visitor: Callable[[Client], Awaitable[T]], **config: Any) -> T:
    """What a visitor of the server returns."""

    async def whole() -> T:
        with LocalPool() as pool:
            app = application(open_catalogue(str(out)), DeskConfig(out=str(out), **config), pool)
            async with TestClient(TestServer(app)) as client:
                return await visitor(client)

    return asyncio.run(whole())


async def key_of(client: Client) -> dict[str, str]:
    """The header that the page sends with each change."""
    text = await (await client.get("/")).text()
    return {KEY_HEADER: text.split('name="desk-key" content="')[1].split('"')[0]}


class DeskServer:
    """A server for as long as the `with` block lasts. address: of its page."""

    def __init__(self, out: Path | str) -> None:
        self._out, self.address = str(out), ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._pool = LocalPool()
        app = application(open_catalogue(self._out), DeskConfig(out=self._out), self._pool)
        self._runner = web.AppRunner(app, access_log=None)
        self._do(self._runner.setup())
        self._do(web.TCPSite(self._runner, "127.0.0.1", 0).start())
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._do(self._runner.cleanup())
        self._pool.__exit__(kind, error, tb)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
