"""Metrics without Ray, and the dashboard that shows them. With Ray: tests/end_to_end/test_metrics.py."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from datasets.errors import Code
from jobs.parts.colorize.report.job_report import STATUSES
from jobs.parts.runtime import ROOT, telemetry
from jobs.parts.runtime.telemetry import METRICS

DASHBOARD = json.loads((ROOT / "deploy/grafana.json").read_text())
RAYS_OWN = {  # metrics of ray.dashboard.modules.metrics, and their labels
    "autoscaler_active_nodes": {"NodeType"},
    "autoscaler_pending_nodes": {"NodeType"},
    "ray_node_gpus_available": set[str](),
    "ray_node_gpus_utilization": set[str](),
    "ray_object_store_memory": {"Location"},
    "ray_resources": {"Name", "State"},
}


def test_nothing_is_counted_and_ray_not_loaded_without_it() -> None:
    code = """
import sys
from jobs.parts.runtime import telemetry
with telemetry.timed("open"):
    telemetry.count_pages("coloured", 3)
    telemetry.count_quarantine("EMPTY")
assert "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("count", "value"),
    [
        (telemetry.count_pages, "ep1/001.png"),
        (telemetry.count_chapter, "lost"),
        (lambda value: telemetry.count_bytes(value, 1), "moved"),
        (lambda value: telemetry.observe_stage(value, 1.0), "sweep"),
        (telemetry.count_retry, "everything"),
        (telemetry.count_quarantine, "ObjectExistsError"),
    ],
)
def test_a_label_has_few_values(count: Callable[[Any], None], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        count(value)


def test_labels_are_the_words_that_reports_use() -> None:
    assert set(METRICS["mangahue_chapters_total"].values) == set(STATUSES)
    assert set(METRICS["mangahue_quarantines_total"].values) == set(Code)


# -- the dashboard


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def exported(name: str) -> set[str]:
    """The names of the series that Ray makes from a metric."""
    return {f"ray_{name}{end}" for end in (("_bucket", "_sum", "_count") if METRICS[name].buckets else ("",))}


def labels_of(series: str) -> set[str]:
    """The labels that may tell a series apart: its own, and those that Prometheus or the query add."""
    for name, described in METRICS.items():
        if series in exported(name):
            return {described.label, *({"le"} if series.endswith("_bucket") else ())}
    return RAYS_OWN[series]


def series_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:ray|autoscaler)_\w+", query))


def labels_in(query: str) -> set[str]:
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.replace(" ", "").split(",")}
    return grouped | set(re.findall(r"[{,]\s*(\w+)\s*[=!]", query))


def test_dashboard_asks_for_series_and_labels_that_there_are() -> None:
    assert queries()
    for query in queries():
        found = series_in(query)
        assert found, query
        assert labels_in(query) <= {label for series in found for label in labels_of(series)} | {"SessionName"}, query


def test_dashboard_shows_every_metric() -> None:
    shown = {series for query in queries() for series in series_in(query)}
    assert [name for name in METRICS if not exported(name) & shown] == []
    assert set(RAYS_OWN) <= shown


def test_dashboard_is_one_that_grafana_takes() -> None:
    """Panels have their own id and position, use the one data source, and lie on Grafana's grid of 24 columns."""
    panels = DASHBOARD["panels"]
    assert max(Counter(panel["id"] for panel in panels).values()) == 1
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
        taken.update(cells)
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["legendFormat"] for target in panel["targets"])
    assert max(taken.values()) == 1, "panels lie over one another"
    assert "datasource" in {variable["name"] for variable in DASHBOARD["templating"]["list"]}
