"""What benchmarks.growth says of measured runs, and how it draws them."""

from collections import Counter
from xml.etree import ElementTree

import pytest

from benchmarks.growth import draw, straight_line, verdict
from benchmarks.scale import Run

SIZES = (100, 1000, 5000)


def run(pages: int, seconds: float, driver: float = 600, worker: float = 400) -> Run:
    return Run(pages // 20, 20, 5.0, seconds - 5, 0.1, 0.1, driver, worker, Counter())


def test_a_straight_line_is_found() -> None:
    start, page, off = straight_line([run(pages, 20 + 0.03 * pages) for pages in SIZES])
    assert (start, page) == (pytest.approx(20), pytest.approx(0.03))
    assert off == pytest.approx(0)


def test_time_that_grows_by_the_square_is_not_linear() -> None:
    line = verdict("ray", [run(pages, 20 + 1e-4 * pages**2) for pages in SIZES])[0]
    assert line.startswith("ray: time is NOT linear: ")


def test_time_and_memory_are_judged() -> None:
    straight = [run(pages, 20 + 0.03 * pages, driver=600 + pages / 1000) for pages in SIZES]
    assert [line.partition(":")[2].split(":")[0] for line in verdict("local", straight)] == [
        " time is linear", " memory of the driver is flat", " memory of the worker is flat",
    ]  # fmt: skip
    leaking = [run(pages, 20 + 0.03 * pages, worker=400 + 0.02 * pages) for pages in SIZES]
    assert verdict("local", leaking)[2].startswith(
        "local: memory of the worker is NOT flat: 402 MiB for 100 pages, 500"
    )


def test_each_runner_has_its_curve_in_each_panel() -> None:
    runs = {runner: [run(pages, more * pages / 100) for pages in SIZES] for runner, more in (("local", 1), ("ray", 2))}
    root = ElementTree.fromstring(draw(runs))
    panels = root.findall("{*}g")
    curves = [[path.get("d") for path in panel.findall("{*}path[@fill='none']")] for panel in panels]
    assert [len(panel) for panel in curves] == [2, 2, 2]
    assert len(set(curves[0])) == 2
    assert len(set(curves[1])) == 1  # equal memory
    assert [text.text for text in panels[1].findall("{*}text[@font-weight]")] == [
        "driver, MiB over pages: local", "driver, MiB over pages: ray",
    ]  # fmt: skip
