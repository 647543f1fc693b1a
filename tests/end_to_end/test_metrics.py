"""What Prometheus gets from a real Ray: our metrics, under the names that deploy/grafana.json asks for."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from jobs.parts.runtime.telemetry import METRICS
from tests.ray_cluster import ROOT

# One Ray for all tests, in its own process: a head without CPUs, like a cluster that starts with no nodes.
PROGRAM = """
import json, socket, sys, time, urllib.error, urllib.request
import ray
from jobs.parts.runtime import telemetry
from jobs.parts.runtime.cluster import connect

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
ray.init(
    address="local", num_cpus=0, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False,
    _metrics_export_port=port, _system_config={"metrics_report_interval_ms": 500},
)
cluster = connect()
telemetry.count_pages("coloured", 3)
telemetry.count_pages("kept", 0)
telemetry.count_chapter("partial")
telemetry.count_bytes("read", 1000)
telemetry.count_bytes("read", 24)
with telemetry.timed("open"):
    time.sleep(0.06)
telemetry.count_retry("sandbox")
telemetry.count_quarantine("EMPTY")
deadline, text = time.monotonic() + 60, ""
while time.monotonic() < deadline and not all(f"ray_{name}" in text for name in telemetry.METRICS):
    time.sleep(0.5)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    except urllib.error.URLError:
        pass
json.dump({"cpus": cluster.cpus, "share": cluster.cpu_share(), "text": text}, sys.stdout)
"""


@dataclass(frozen=True)
class Scraped:
    """What was read from Ray.

    samples: by name of the metric.
    cpus, share: what a job makes of a cluster without CPUs.
    """

    samples: dict[str, list[Sample]]
    cpus: float
    share: float


@pytest.fixture(scope="module")
def scraped() -> Scraped:
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    for name in ("RAY_ADDRESS", "RAY_enable_metrics_collection"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    told = json.loads(done.stdout)
    samples: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(told["text"]):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return Scraped(samples, told["cpus"], told["share"])


@pytest.mark.parametrize(
    ("name", "value", "amount"),
    [
        ("mangahue_pages_total", "coloured", 3),
        ("mangahue_chapters_total", "partial", 1),
        ("mangahue_bytes_total", "read", 1024),
        ("mangahue_stage_seconds_count", "open", 1),
        ("mangahue_retries_total", "sandbox", 1),
        ("mangahue_quarantines_total", "EMPTY", 1),
    ],
)
def test_metric_is_exported(scraped: Scraped, name: str, value: str, amount: float) -> None:
    label = METRICS[name.removesuffix("_count")].label
    found = {sample.labels[label]: sample.value for sample in scraped.samples[f"ray_{name}"]}
    assert found == {value: amount}


def test_stage_is_exported_by_buckets(scraped: Scraped) -> None:
    buckets = {sample.labels["le"]: sample.value for sample in scraped.samples["ray_mangahue_stage_seconds_bucket"]}
    assert buckets["0.05"] == 0
    assert buckets["600.0"] == buckets["+Inf"] == 1


@pytest.mark.parametrize("name", ["ray_resources", "ray_object_store_memory"])
def test_what_the_dashboard_asks_of_ray_is_there(scraped: Scraped, name: str) -> None:
    wanted = {"ray_resources": {"Name", "State"}, "ray_object_store_memory": {"Location"}}[name]
    assert wanted | {"SessionName"} <= set(scraped.samples[name][0].labels)


def test_a_cluster_without_cpus_is_asked_for_whole_ones(scraped: Scraped) -> None:
    assert (scraped.cpus, scraped.share) == (0.0, 1.0)
