"""Shows on one machine that a cluster grows when there is work, and shrinks when there is none.

    python -m benchmarks.autoscaling [--out build/autoscaling] [--kill-a-node]

Ray's own fake node provider starts nodes as processes of this machine, and declares GPUs that do not exist. A library
is coloured with `--device cuda`: the job asks Ray's autoscaler for GPUs that are not there yet, and nodes come. Nodes,
predictors and chapters over time are sampled, written as JSON and drawn as an SVG plot.

Port 6379 must be free. On a machine with real GPUs the predictors use them. Elsewhere they find none and predict on the
CPU, on nodes that claim to have a GPU.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.plots import plot
from datasets.storage import open_storage
from jobs.parts.report.charts import draw_curve
from jobs.parts.runtime import ROOT
from tests.faults.harness import check_whole
from tests.faults.kills import write_pages
from tests.untrained import publish_untrained

HEAD = "f" * 51 + "00000"  # the fake provider's name for the head
HEAD_TYPE = "ray.head.default"  # the only one that the provider knows
SECONDS_AFTER = 60.0  # seconds to watch after the job's end
CONFIG: dict[str, Any] = {
    "cluster_name": "fake",
    "max_workers": 3,
    "upscaling_speed": 100.0,
    "idle_timeout_minutes": 0.1,
    "provider": {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "head_node_id": HEAD,
        "launch_multiple": True,
    },
    "available_node_types": {
        HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "colour": {
            "resources": {"CPU": 1, "GPU": 1, "object_store_memory": 200_000_000},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
        "pages": {
            "resources": {"CPU": 2, "object_store_memory": 200_000_000},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        },
    },
    "head_node_type": HEAD_TYPE,
    **{f"{who}setup_commands": [] for who in ("", "head_", "worker_")},
    **{f"{who}_start_ray_commands": [] for who in ("head", "worker")},
    "cluster_synced_files": [],
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "initialization_commands": [],
    "rsync_exclude": [],
    "rsync_filter": [],
    "auth": {},
}


@contextlib.contextmanager
def fake_cluster(scratch: Path) -> Iterator[dict[str, str]]:
    """Start a head that takes no work, and Ray's autoscaler. Yields the environment variables for its jobs."""
    config = scratch / "autoscaler.json"
    config.write_text(json.dumps(CONFIG))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    command = ["ray", "start", "--head", "--block", "--port=6379", "--num-cpus=0", "--object-store-memory=300000000"]
    command += [f"--autoscaling-config={config}", f"--temp-dir={scratch / 'ray'}"]
    with (scratch / "ray.log").open("wb") as log:
        head = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    jobs = {n: v for n, v in environment.items() if n not in ("RAY_OVERRIDE_NODE_ID_FOR_TESTING",)}
    try:
        time.sleep(15)
        yield {**jobs, "RAY_ADDRESS": "127.0.0.1:6379"}
    finally:
        mine = psutil.Process(head.pid).children(recursive=True)
        os.killpg(head.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs([*mine, psutil.Process(head.pid)], timeout=10)
        for process in alive:
            process.kill()
        for process in _raylets(scratch):
            process.kill()


def _raylets(scratch: Path) -> list[psutil.Process]:
    """The raylets of this cluster only."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if "raylet/raylet" in (c := " ".join(p.info["cmdline"] or [])) and str(scratch) in c]


def _predictors(scratch: Path) -> int:
    ours = {process.pid for process in _raylets(scratch)}
    found = psutil.process_iter(["cmdline", "ppid"])
    return sum(p.info["ppid"] in ours and "MapWorker" in " ".join(p.info["cmdline"] or []) for p in found)


def watch(
    environment: dict[str, str], scratch: Path, out: Path, chapters: int, kill: bool
) -> tuple[list[dict[str, float]], int]:
    """Run the job, and sample the cluster once a second until it is small again.

    environment: variables for the job.
    scratch: folder for the model, the library and its output.
    out: folder for the job's log.
    chapters: of the library.
    kill: kill the youngest node in the middle of the job.
    Returns the samples, and the job's exit code.
    """
    model = scratch / "model"
    publish_untrained(model, base_channels=8, image_size=128)
    names = write_pages(scratch / "in", 0, chapters)
    command = [sys.executable, "jobs/colorize.py", "--model", str(model), "--source", str(scratch / "in")]
    command += ["--out", str(scratch / "coloured"), "--device", "cuda", "--gpus-per-actor", "1"]
    samples: list[dict[str, float]] = []
    begun, ended, killed = time.monotonic(), 0.0, not kill
    with (out / "job.log").open("wb") as log:
        job = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        while not ended or time.monotonic() < ended + SECONDS_AFTER:
            raylets = _raylets(scratch)
            done = len(list((scratch / "coloured/_mangahue/chapters").rglob("*.json")))
            now = {"seconds": time.monotonic() - begun, "nodes": len(raylets), "predictors": _predictors(scratch)}
            samples.append({**now, "chapters": done})
            if not killed and 5 < done < len(names) // 2:
                max(raylets, key=lambda process: process.create_time()).kill()
                killed = True
                click.echo(f"{now['seconds']:.0f} s: a node killed", err=True)
            if not ended and job.poll() is not None:
                ended = time.monotonic()
            if ended and len(raylets) == 1 and time.monotonic() > ended + 5:
                break
            time.sleep(1)
    if job.returncode == 0:
        check_whole(open_storage(str(scratch / "coloured")), names)
    return samples, int(job.returncode)


@click.command(context_settings={"show_default": True})
@click.option("--out", default="build/autoscaling", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--chapters", default=200, help="Chapters of the library, of two pages each.")
@click.option("--kill-a-node", is_flag=True, help="Kill the youngest node in the middle of the job.")
def main(out: Path, chapters: int, kill_a_node: bool) -> None:
    """Sample nodes, predictors and chapters over time, and plot them."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mh-") as folder, fake_cluster(Path(folder)) as environment:
        samples, code = watch(environment, Path(folder), out, chapters, kill_a_node)
    (out / "samples.json").write_text(json.dumps(samples))
    whole = (0.0, samples[-1]["seconds"])
    curves = {name: [(s["seconds"], s[name]) for s in samples] for name in ("nodes", "predictors", "chapters")}
    (out / "plot.svg").write_text(plot([[draw_curve(name, points, whole)] for name, points in curves.items()]))
    most = {name: max(sample[name] for sample in samples) for name in ("nodes", "predictors", "chapters")}
    click.echo(f"exit {code}; most at once: {most}; at the end: {samples[-1]}; {out / 'plot.svg'}")


if __name__ == "__main__":
    main()
