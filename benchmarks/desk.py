"""How long the desk takes to colour a page again after a click.

python -m benchmarks.desk [--clicks 24]

A generated page of 992 x 1400 is coloured by the bundled model into a new folder. Then spots are given to it one after
the other, as by a pointer, and asked for of the desk's server: from the request to the last byte of the picture. The
look at the page, which the desk takes while a colour is chosen, is not counted. In the second row a page that was
marked as a reference is followed. Core-seconds are those of the server and its sandboxes: the same beside other work.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from datasets.synthetic import Series, write_series
from jobs.colorize import main as colorize
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.desk.catalogue import id_of, open_catalogue
from jobs.parts.desk.config import DeskConfig
from jobs.parts.desk.guard import KEY_HEADER
from jobs.parts.desk.server import application
from jobs.parts.runtime.local import LocalPool

WIDTH, HEIGHT = 992, 1400
_CHAPTER = f"/api/chapters/{id_of('ch01.cbz')}"


def core_seconds() -> float:
    """Those of this process and of its children, so far."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


async def clicks(
    client: TestClient[web.Request, web.Application], count: int, *, marked: bool
) -> list[tuple[float, float]]:
    """(seconds, core-seconds) of each click on the first page. marked: with the second page as a reference."""
    text = await (await client.get("/")).text()
    key = {KEY_HEADER: text.split('name="desk-key" content="')[1].split('"')[0]}
    await client.get("/api/swatches")  # until the model is loaded

    async def send(method: str, path: str, body: dict[str, Any]) -> None:
        answer = await client.request(method, _CHAPTER + path, json=body, headers=key)
        await answer.read()
        answer.raise_for_status()

    page, other = [page["number"] for page in (await (await client.get(_CHAPTER)).json())["pages"]]
    await send("put", f"/{other}/reference", {"for": "chapter" if marked else ""})
    await send("post", f"/{page}/look", {})  # as the page does when a spot is clicked, and waits for its colour
    rng, hints, seconds = np.random.default_rng(0), [], []
    for _ in range(count):
        x, y = rng.uniform(0.1, 0.9, 2) * (WIDTH, HEIGHT)
        hints.append({"x": x, "y": y, "radius": 17, "colour": f"#{rng.integers(1 << 24):06x}"})
        begun, used = time.monotonic(), core_seconds()
        await send("put", f"/{page}/hints", {"hints": hints})
        await send("post", f"/{page}/recolor", {})
        seconds.append((time.monotonic() - begun, core_seconds() - used))
    await send("put", f"/{page}/hints", {"hints": []})
    return seconds


async def visit(out: str, pool: LocalPool, count: int) -> None:
    app = application(open_catalogue(out), DeskConfig(out=out), pool)
    async with TestClient(TestServer(app)) as client:
        for name, marked in (("no reference", False), ("a marked reference", True)):
            seconds, cores = zip(*await clicks(client, count, marked=marked), strict=True)
            spread = f"median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s"
            click.echo(f"{name}: {count} clicks, {spread}, {statistics.median(cores):.2f} core-seconds each")


@click.command(help=__doc__)
@click.option("--clicks", "count", default=24, help="Clicks on the page.")
def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        write_series(Series(seed=5, chapters=1, pages=2, width=WIDTH, height=HEIGHT), Path(home))
        out = f"{home}/out"
        colorize(ColorizeConfig(source=f"{home}/ink", out=out, runner="local"))
        with LocalPool() as pool:
            asyncio.run(visit(out, pool, count))


if __name__ == "__main__":
    main()
