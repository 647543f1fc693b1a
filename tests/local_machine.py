"""This machine without Ray, for jobs as their users start them."""

import os
import subprocess
import sys

from tests.ray_cluster import ROOT, run

RUNNERS = ("colorize", "verify", "evaluate", "pair")  # jobs that have --runner


class LocalMachine:
    """environment: added to that of all jobs."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}

    def job(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python jobs/<name>.py ... --runner local`"""
        return run(self._command(name, arguments), self.environment)

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        """The same, in the background."""
        return subprocess.Popen(
            self._command(name, arguments), cwd=ROOT, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def _command(self, name: str, arguments: tuple[str, ...]) -> list[str]:
        runner = ("--runner", "local") if name in RUNNERS else ()
        return [sys.executable, f"jobs/{name}.py", *arguments, *runner]
