"""One library with every kind of outcome, on both runners: the same bytes, the same log, the same exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.archives import packed, zipped
from tests.end_to_end.test_library import BAD, PAGES
from tests.jobs.colorize.chapters import COMIC_INFO, color_page, gray_page
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster

VOLUME = {f"{number:02d}.png": gray_page(number) for number in range(70)}
GOOD = {
    "volume.cbz": zipped({**VOLUME, "ComicInfo.xml": COMIC_INFO}),
    "volume cut.cbz": zipped(VOLUME)[:-60],
    "some colour.cbz": zipped({"1.png": gray_page(1), "2.jpg": color_page("JPEG"), "notes.txt": b"kept"}),
    "in a folder/1.png": gray_page(2),
    "in a folder/2.webp": gray_page(3, "WEBP"),
}
_VARY = ("seconds", "digest")  # of a manifest: how long it took, and the digest of itself


def write_library(folder: Path) -> None:
    folder.mkdir()
    for name, (make, _, _) in BAD.items():
        (folder / name).write_bytes(make(folder.parent))
    for name, data in GOOD.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "solid.7z").write_bytes(packed(PAGES, folder.parent / "solid", "7zip"))
    (folder / "nowhere.cbz").symlink_to("nowhere")


def files_of(out: Path) -> dict[str, Any]:
    """All that a job has written, by name; what tells of time and of the output's own place is left out."""
    found: dict[str, Any] = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if not path.is_file() or name in ("_mangahue/report.html", "_mangahue/progress.json"):
            continue
        found[name] = path.read_bytes()
        if not name.startswith("_mangahue/") or path.suffix != ".json":
            continue
        values = json.loads(found[name])
        if name == "_mangahue/report.json":
            lines = values.pop("lines")
            values = {key: values[key] for key in ("inputs", "chapters", "pages", "computed")}
            values["lines"] = [{key: line[key] for key in line if key not in ("output", "seconds")} for line in lines]
        elif name == "_mangahue/verified.json":
            del values["finished"]
        elif name == "_mangahue/job.json":
            values["config"] = {key: text for key, text in values["config"].items() if key not in ("out", "runner")}
        else:
            values = {key: value for key, value in values.items() if key not in _VARY}
        found[name] = values
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("more", [(), ("--strict", "--salvage", "--format", "png")], ids=["plain", "strict"])
def test_both_runners_publish_the_same(
    cluster: RayCluster, machine: LocalMachine, model: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    write_library(tmp_path / "in")
    made = {}
    for name, runner in {"ray": cluster, "local": machine}.items():
        words = ("--model", str(model), "--source", str(tmp_path / "in"), "--out", str(tmp_path / name))
        done = runner.job("colorize", *words, *more)
        assert done.returncode == 3, done.stdout
        assert ("cluster: 2 CPUs" in done.stdout) == (name == "ray")
        checked = runner.job("verify", "--out", str(tmp_path / name))
        assert checked.returncode == 0, checked.stdout
        made[name] = files_of(tmp_path / name)
    report = made["ray"]["_mangahue/report.json"]
    assert all(report["chapters"][status] for status in report["chapters"] if not (more and status == "partial"))
    assert made["local"].keys() == made["ray"].keys()
    assert {name: data for name, data in made["local"].items() if data != made["ray"][name]} == {}
