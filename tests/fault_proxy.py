"""A proxy before a real S3 server. It can disturb each request as networks and buckets do.

It knows enough HTTP/1.1 to see requests and answers, one after the other on a connection. A request is signed for the
proxy's own address, and passes unchanged.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

Fault = Literal["none", "slow down", "reset", "trickle", "lost answer", "expired", "gone"]
_HEAD_MOST = 64 * 1024
_PIECE = 64 * 1024
TRICKLE = 10  # bytes a second


@dataclass
class Request:
    """A request that the proxy sees.

    path: with its query.
    number: from 0, in the order of arrival.
    """

    method: str
    path: str
    number: int


@dataclass
class FaultProxy:
    """Listens on 127.0.0.1 while the `with` block lasts.

    upstream: port of the server behind it.
    choose: called for each request, returns the fault that it meets. It may be replaced at any time.
    met: how often each fault was met.
    port: where the proxy listens.
    """

    upstream: int
    choose: Callable[[Request], Fault] = lambda request: "none"
    met: dict[str, int] = field(default_factory=dict)
    port: int = 0
    _count: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_MOST))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            above = await asyncio.open_connection("127.0.0.1", self.upstream)
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._pass_one(reader, writer, *above):
                    pass
            above[1].close()
        writer.transport.abort()

    async def _pass_one(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> bool:
        """Pass one request and its answer on. Returns whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        fault = self.choose(Request(method, path, self._count))
        self._count += 1
        self.met[fault] = self.met.get(fault, 0) + (fault != "none")
        if fault == "gone":
            return False
        fields = _fields(head)
        if fields.get("expect", "").lower() == "100-continue":  # the proxy answers instead of the server
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
        if fault in ("slow down", "expired"):
            await _body(reader, fields, None)
            return await _refuse(writer, fault)
        to_server.write(head)
        if fault == "reset" and method in ("PUT", "POST"):
            await _body(reader, fields, to_server, half=True)
            return False
        await _body(reader, fields, to_server)
        answer = await server.readuntil(b"\r\n\r\n")
        if fault == "lost answer":
            return False
        writer.write(answer)
        empty = method == "HEAD" or answer.split(b" ", 2)[1] in (b"204", b"304")
        if not empty:
            pace = TRICKLE if fault == "trickle" else 0
            await _body(server, _fields(answer), writer, half=fault == "reset", pace=pace)
        await writer.drain()
        return fault != "reset"


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}


async def _body(
    source: asyncio.StreamReader,
    fields: dict[str, str],
    to: asyncio.StreamWriter | None,
    *,
    half: bool = False,
    pace: int = 0,
) -> None:
    """Pass a body on.

    to: where to; None to drop it.
    half: break off in the middle.
    pace: bytes per second; 0 for no limit.
    """
    if "chunked" in fields.get("transfer-encoding", ""):
        while True:
            line = await source.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            chunk = await source.readexactly(size + 2) if size else b""
            trailer = b"" if size else await _trailer(source)
            await _write(to, line + chunk + trailer, pace)
            if not size or half:
                return
    left = int(fields.get("content-length", "0"))
    left = left // 2 if half else left
    while left:
        data = await source.read(min(left, _PIECE))
        if not data:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(data)
        await _write(to, data, pace)


async def _trailer(source: asyncio.StreamReader) -> bytes:
    lines = b""
    while True:
        line = await source.readuntil(b"\r\n")
        lines += line
        if line == b"\r\n":
            return lines


async def _write(to: asyncio.StreamWriter | None, data: bytes, pace: int) -> None:
    if to is None:
        return
    if not pace:
        to.write(data)
        await to.drain()
        return
    for start in range(0, len(data), pace):
        to.write(data[start : start + pace])
        await to.drain()
        await asyncio.sleep(1)


async def _refuse(writer: asyncio.StreamWriter, fault: Fault) -> bool:
    status, code = ("503 Slow Down", "SlowDown") if fault == "slow down" else ("403 Forbidden", "ExpiredToken")
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
    fields = f"Content-Type: application/xml\r\nContent-Length: {len(text)}\r\n"
    writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + text)
    await writer.drain()
    return True
