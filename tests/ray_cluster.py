"""A real Ray cluster of one node on this machine, started as its users do: `ray start --head`, token and all."""

import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from jobs.parts.runtime import ROOT

START_SECONDS = 90.0
JOB_SECONDS = 280.0


class RayCluster:
    """Runs for as long as the `with` block lasts, in the checkout's folder. environment: added to that of all jobs."""

    def __init__(self, environment: dict[str, str], cpus: int = 2, store_bytes: int = 500_000_000) -> None:
        self._cpus = cpus
        self._store_bytes = store_bytes
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
        self._nodes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.start_head("ray start --head")
        self.environment["RAY_ADDRESS"] = f"127.0.0.1:{self._gcs}"
        return self

    def start_head(self, line: str) -> None:
        """Run the line that starts a head, with ports of its own; return when its dashboard answers."""
        command = [*shlex.split(line), "--block", "--disable-usage-stats", f"--num-cpus={self._cpus}"]
        command += ['--resources={"on_demand": 1}']  # as the head of cluster.yaml
        command += [
            f"--port={self._gcs}",
            f"--dashboard-port={self._dashboard}",
            f"--object-store-memory={self._store_bytes}",
        ]
        command += [f"--dashboard-agent-listen-port={_free_port()}", f"--temp-dir={self._folder}"]
        with Path(self._folder, "ray-start.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"ray did not start: {Path(self._folder, 'ray-start.log').read_text()[-2000:]}")
            time.sleep(0.5)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the head and the nodes, where they were started."""
        if self._process is None:
            return
        for process in [*self._nodes, self._process]:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                kill_group(process)

    def add_node(self, cpus: int = 1) -> "subprocess.Popen[bytes]":
        """One more node, on this machine too; it ends with the cluster, or when its process group is killed.

        Returns when it has joined: nodes that start at the same time take one another's sockets.
        """
        command = ["ray", "start", f"--address=127.0.0.1:{self._gcs}", "--block", f"--num-cpus={cpus}"]
        command += ['--resources={"on_demand": 1}']
        command += ["--object-store-memory=200000000", f"--dashboard-agent-listen-port={_free_port()}"]
        command += [f"--dashboard-agent-grpc-port={_free_port()}", f"--metrics-export-port={_free_port()}"]
        environment = {name: value for name, value in self.environment.items() if name != "RAY_ADDRESS"}
        path = Path(self._folder, f"node-{len(self._nodes)}.log")
        with path.open("wb") as log:
            node = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._nodes.append(node)
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in path.read_text():
            if node.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the node did not start: {path.read_text()[-2000:]}")
            time.sleep(0.1)
        return node

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted to."""
        return f"http://127.0.0.1:{self._dashboard}"

    @property
    def pid(self) -> int:
        """Of the head's process group."""
        assert self._process is not None
        return self._process.pid

    def running_nodes(self) -> "list[subprocess.Popen[bytes]]":
        """Added nodes whose processes still run."""
        return [node for node in self._nodes if node.poll() is None]

    def kill_head(self) -> None:
        """The head, all of its processes, as when its machine goes; the nodes find out by themselves."""
        assert self._process is not None
        kill_group(self._process)

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
        environment = {**self.environment, "RAY_ADDRESS": self.dashboard}
        return run(["ray", "job", "submit", *words], environment, cwd)

    def _answers(self) -> bool:
        kept = Path(self.environment.get("HOME", "/"), ".ray/auth_token")
        token = self.environment.get("RAY_AUTH_TOKEN") or kept.read_text().strip()
        request = urllib.request.Request(f"{self.dashboard}/api/version", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for a process that leads its group, and for all of the group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(command: list[str], environment: dict[str, str], cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run to the end; stdout and stderr in one."""
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=JOB_SECONDS,
    )  # fmt: skip


def training_workers(*roots: int) -> list[psutil.Process]:
    """The training workers below these processes, by pid: others on the machine are no concern of a test.

    Ray names a process after the class of its actor.
    """
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("RayTrainWorker" in part for part in process.info["cmdline"] or []):
            with suppress(psutil.NoSuchProcess):
                if {parent.pid for parent in process.parents()} & {*roots}:
                    found.append(process)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
