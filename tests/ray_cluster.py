"""A real Ray cluster of one node on this machine, started as its users do: `ray start --head`, token and all."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 90.0
JOB_SECONDS = 280.0


class RayCluster:
    """Runs for as long as the `with` block lasts, in the checkout's folder. environment: added to that of all jobs."""

    def __init__(self, environment: dict[str, str], cpus: int = 2) -> None:
        self._cpus = cpus
        self._folder = tempfile.mkdtemp(prefix="mh-ray-")
        self._gcs, self._dashboard = _free_port(), _free_port()
        self.environment = {
            **os.environ,
            **environment,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_enable_metrics_collection": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = ["ray", "start", "--head", "--block", "--disable-usage-stats", f"--num-cpus={self._cpus}"]
        command += ['--resources={"on_demand": 1}']  # as the head of cluster.yaml
        command += [f"--port={self._gcs}", f"--dashboard-port={self._dashboard}", "--object-store-memory=500000000"]
        command += [f"--dashboard-agent-listen-port={_free_port()}", f"--temp-dir={self._folder}"]
        with Path(self._folder, "ray-start.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.environment["RAY_ADDRESS"] = f"127.0.0.1:{self._gcs}"
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"ray did not start: {Path(self._folder, 'ray-start.log').read_text()[-2000:]}")
            time.sleep(0.5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def job(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`python jobs/<name>.py ...`, joined to this cluster."""
        return run([sys.executable, f"jobs/{name}.py", *arguments], self.environment)

    def start(self, name: str, *arguments: str) -> "subprocess.Popen[str]":
        """The same, in the background."""
        command = [sys.executable, f"jobs/{name}.py", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def submit(self, *words: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """`ray job submit ...`"""
        environment = {**self.environment, "RAY_ADDRESS": f"http://127.0.0.1:{self._dashboard}"}
        return run(["ray", "job", "submit", *words], environment, cwd)

    def _answers(self) -> bool:
        token = self.environment["RAY_AUTH_TOKEN"]
        url = f"http://127.0.0.1:{self._dashboard}/api/version"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def run(command: list[str], environment: dict[str, str], cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run to the end; stdout and stderr in one."""
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=JOB_SECONDS,
    )  # fmt: skip


def training_workers() -> list[psutil.Process]:
    """Our training workers: Ray names a process after the class of its actor."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if any("RayTrainWorker" in part for part in process.info["cmdline"] or [])]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
