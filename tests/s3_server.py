"""A real S3 server on this machine: SeaweedFS, for the tests and for `make s3`.

    python -m tests.s3_server --port 18333 --dir out/s3

prints the variables to set, serves until Ctrl-C, and stops only the server that it started.
"""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

HOST = "127.0.0.1"
ACCESS_KEY = "labkey"
SECRET_KEY = "labsecret"
REGION = "us-east-1"
GRPC_OFFSET = 10_000  # SeaweedFS opens each port's gRPC twin this far above it
START_SECONDS = 60.0
FREE_SHARE = 0.015  # of a disk, at least: below 0.01 SeaweedFS comes up, and then refuses every write
FREE_SHARE = 0.015  # of the disk. Below 0.01 SeaweedFS keeps answering and refuses every write


@dataclass(frozen=True)
class Identity:
    """Someone who may use the server.

    actions: SeaweedFS's own: "Read", "Write", "List", "Admin". Each holds for all buckets, or for a part of one:
        "Read:bucket/prefix/*".
    policy: an IAM policy document, which the server enforces as S3 does.
    """

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...] = ()
    policy: dict[str, Any] | None = None

    def as_config(self) -> dict[str, Any]:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        policies = {"policyNames": [self.name]} if self.policy is not None else {}
        return {"name": self.name, "credentials": credentials, "actions": list(self.actions), **policies}


LAB = Identity("lab", ACCESS_KEY, SECRET_KEY, ("Admin", "Read", "Write", "List", "Tagging"))


class SeaweedFS:
    """One SeaweedFS server and one bucket, while the `with` block lasts.

    folder: where the objects are kept. If none is given, a temporary folder that is removed at the end.
    port: of the S3 endpoint. The four ports above it serve the server's parts. Free ports if none is given.
    identities: beside LAB, who has all rights.
    Raises RuntimeError: if the disk is nearly full; if it does not come up, with the end of the server's log.
    """

    def __init__(
        self,
        *,
        folder: Path | None = None,
        port: int | None = None,
        bucket: str = "pages",
        identities: Sequence[Identity] = (),
    ) -> None:
        self.bucket = bucket
        self._identities = (LAB, *identities)
        self.port = port
        self._folder = folder
        self._scratch: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}"

    def environment(self, identity: Identity = LAB) -> dict[str, str]:
        """The variables with which boto3, PyArrow, Ray and our jobs find this server and act as this identity."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="mangahue-s3-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self) -> int:
        """Block until the server ends by itself. Returns its exit status."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """Stop the server that was started here, by its own pid, and remove its temporary folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _start(self) -> None:
        assert self._scratch is not None
        folder = self._folder or self._scratch / "data"
        folder.mkdir(parents=True, exist_ok=True)
        _check_space(folder)
        _check_space(folder)
        policies = {who.name: json.dumps(who.policy) for who in self._identities if who.policy is not None}
        rights = {
            "identities": [who.as_config() for who in self._identities],
            "policies": [{"name": name, "content": content} for name, content in policies.items()],
        }
        config = self._scratch / "s3.json"
        config.write_text(json.dumps(rights))
        names = ("master", "volume", "filer", "admin")
        if self.port:  # a kept folder stores its master's address, so it needs the same ports each time
            services = {name: self.port + 1 + place for place, name in enumerate(names)}
        else:
            self.port, *others = _free_ports(1 + len(names))
            services = dict(zip(names, others, strict=True))
        log = self._scratch / "weed.log"
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [
                    _weed(),
                    "-logtostderr=true",
                    "mini",
                    f"-dir={folder}",
                    f"-ip={HOST}",
                    f"-ip.bind={HOST}",
                    f"-bucket={self.bucket}",
                    f"-s3.port={self.port}",
                    f"-s3.config={config}",
                    "-s3.autoCreateBucket=false",  # a put to a mistyped bucket must fail, as on S3
                    "-s3.port.iceberg=0",
                    "-s3.port.lance=0",
                    *(f"-{service}.port={port}" for service, port in services.items()),
                    "-admin.ui=false",
                    "-webdav=false",
                    "-master.telemetry=false",
                ],
                stdout=stream,
                stderr=stream,
                cwd=self._scratch,
                start_new_session=True,  # Ctrl-C reaches this process only, which then stops the server in order
            )
        self._await_bucket(log)

    def _await_bucket(self, log: Path) -> None:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=LAB.access_key,
            aws_secret_access_key=LAB.secret_key,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        pause = threading.Event()
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                client.head_bucket(Bucket=self.bucket)
                client.put_object(Bucket=self.bucket, Key=".ready", Body=b"")  # volumes come up later than the bucket
                client.delete_object(Bucket=self.bucket, Key=".ready")
            except (BotoCoreError, ClientError):
                pause.wait(0.1)
            else:
                return
        tail = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"SeaweedFS did not answer at {self.endpoint} (exit status {self._process.poll()}):\n{tail}")


def _weed() -> str:
    beside_python = Path(sys.executable).parent / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("no `weed` program: install the development dependencies, pip install -e '.[dev]'")
    return found


def _check_space(folder: Path) -> None:
    disk = shutil.disk_usage(folder)
    if disk.free < FREE_SHARE * disk.total:
        raise RuntimeError(
            f"{folder}: {disk.free / 1e9:.1f} of the disk's {disk.total / 1e9:.0f} GB are free, and SeaweedFS needs "
            f"{FREE_SHARE * disk.total / 1e9:.1f}: remove what is not needed there"
        )


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, with free gRPC twins. They are below the kernel's ephemeral range, so that no client
    takes them.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 22_700), 2_700):  # twins: 30,000 to 32,700
        if _is_free(port) and _is_free(port + GRPC_OFFSET):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports between 20000 and 22700")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@click.command()
@click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False), help="Keep the objects here.")
@click.option("--port", type=click.IntRange(1024, 55_535), default=18_333, show_default=True, help="S3 endpoint.")
@click.option("--bucket", default="pages", show_default=True)
def main(folder: Path | None, port: int, bucket: str) -> None:
    """Serve S3 on 127.0.0.1 until Ctrl-C, and print the variables to set."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # leave through the with block, which stops the server
    with SeaweedFS(folder=folder and folder.absolute(), port=port, bucket=bucket) as server:
        for name, value in server.environment().items():
            click.echo(f"export {name}={value}")
        click.echo(f"# {server.uri} is ready; Ctrl-C stops it", err=True)
        sys.stdout.flush()
        try:
            sys.exit(server.wait())
        except KeyboardInterrupt:
            click.echo("# stopped", err=True)


if __name__ == "__main__":
    main()
