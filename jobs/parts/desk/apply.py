"""Runs the job again for what was changed, as its user would: in a process of its own, by the local runner."""

import asyncio
import os
import shlex
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, fields
from dataclasses import replace as changed

from datasets.errors import BadUsageError
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.ledger.ledger import PALETTE
from jobs.parts.runtime import ROOT

_LINES = 60  # of the job's log that are kept
_LONGEST = 10_000  # bytes of one: a longer one is several
_OWN = ("runner", "replace", "hints", "cast")  # not handed on: hints and cast are those that the output keeps


def arguments_of(config: ColorizeConfig) -> list[str]:
    """The command line of the job that made an output folder, with the hints and the palette that are kept there."""
    if config.palette not in ("off", "auto"):
        config = changed(config, palette=f"{config.out}/{PALETTE}")
    given: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _OWN or value == field.default:
            continue
        flag = f"--{field.metadata['flag'] or field.name.replace('_', '-')}"
        given += [flag] if value is True else [f"{flag}={value}"]
    return given


def cluster_line(config: ColorizeConfig) -> str:
    """The line that has a cluster do it; "" where its nodes do not see the folders."""
    if not all(uri.startswith("s3://") for uri in (config.out, config.source)):
        return ""
    submit = "ray job submit --address http://127.0.0.1:8265 --working-dir . -- python jobs/colorize.py"
    return f"{submit} {shlex.join(arguments_of(config))}"


@dataclass
class JobRun:
    """A run of the job.

    lines: the last lines of its log.
    code: its exit code; None while it runs.
    """

    lines: deque[str]
    code: int | None = None


class Applier:
    """Runs the job, one run at a time.

    config: of the job.
    ended: called after each run.
    """

    def __init__(self, config: ColorizeConfig, ended: Callable[[], object]) -> None:
        self._config, self._ended = config, ended
        self._process: asyncio.subprocess.Process | None = None
        self._following: asyncio.Task[None] | None = None
        self.run: JobRun | None = None

    async def start(self) -> None:
        """Start a run. Raises BadUsageError where one is under way."""
        if self.run is not None and self.run.code is None:
            raise BadUsageError("the job is running already; wait for its end")
        self.run = run = JobRun(deque(maxlen=_LINES))
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "jobs.colorize", *arguments_of(self._config), "--runner=local",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._following = asyncio.create_task(self._follow(self._process, run))

    async def stop(self) -> None:
        """Stop the run under way, and wait for its end. What is done by then stays; the next run goes on."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._following is not None:
            await self._following

    async def _follow(self, process: asyncio.subprocess.Process, run: JobRun) -> None:
        assert process.stdout is not None
        async for line in lines_of(process.stdout):
            run.lines.append(line.decode(errors="replace").rstrip())
        code = await process.wait()
        await asyncio.to_thread(self._ended)
        run.code = code


async def lines_of(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, as they come, without their ends. asyncio's own end with an error at a long one."""
    rest = b""
    while data := await stream.read(_LONGEST):
        *whole, rest = (rest + data).split(b"\n")
        for line in (*whole, rest) if len(rest) > _LONGEST else whole:
            for start in range(0, max(1, len(line)), _LONGEST):
                yield line[start : start + _LONGEST]
        rest = rest if len(rest) <= _LONGEST else b""
    if rest:
        yield rest
