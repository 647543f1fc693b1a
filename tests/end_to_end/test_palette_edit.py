"""One colour of the palette is edited and the job is run again, on a real cluster."""

import json
from pathlib import Path

import numpy as np

from datasets.storage import open_storage
from imaging.palette import Palette
from tests.archives import zipped
from tests.jobs.colorize.chapters import members_of, saved
from tests.local_machine import LocalMachine

# By lightness, because an untrained network predicts nearly the same for dark and for light pages.
COLORS = [
    {"name": name, "ab": [20, 5], "centre": [light, 10, 5, 1], "weight": 0.5}
    for name, light in (("dark", 20), ("light", 80))
]
DARK, LIGHT = 48, 198  # gray levels of L 20 and 80
CHAPTERS = {
    "ch1.cbz": {"1.png": DARK, "2.png": LIGHT, "3.png": DARK},
    "ch2.cbz": {"1.png": LIGHT, "2.png": LIGHT},
    "ch3.cbz": {"1.png": DARK},
}


def page(level: int, seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(level - 4, level + 4, (288, 192), dtype=np.uint8)
    return saved(levels)


def test_only_pages_that_use_the_edited_colour_change(
    machine: LocalMachine, model: Path, s3: str, tmp_path: Path
) -> None:
    for seed, (name, levels) in enumerate(CHAPTERS.items()):
        pages = {member: page(level, seed) for member, level in levels.items()}
        open_storage(f"{s3}/in").put(name, zipped(pages))
    palette = tmp_path / "palette.json"
    palette.write_text(json.dumps({"colors": COLORS}))
    out = open_storage(f"{s3}/out")
    command = ("--model", str(model), "--source", f"{s3}/in", "--out", out.uri, "--palette", str(palette))
    first = machine.job("colorize", *command)
    assert first.returncode == 0, first.stdout
    before, versions = members(out.uri), {entry.key: entry.version for entry in out.list()}

    edited = Palette.from_dict({"colors": COLORS}).edited("dark", (-30.0, -40.0))
    palette.write_text(json.dumps(edited.to_dict()))
    again = machine.job("colorize", *command)
    assert again.returncode == 0, again.stdout
    assert "2 chapters use a colour of the palette, or have a hint or a marked page, that was edited" in again.stdout
    assert "palette, hints or marked pages edited: 3 pages done again, 1 taken as they were published" in again.stdout
    after = members(out.uri)
    changed = {place for place in before if before[place] != after[place]}
    assert changed == {("ch1.cbz", "1.jpg"), ("ch1.cbz", "3.jpg"), ("ch3.cbz", "1.jpg")}
    now = {entry.key: entry.version for entry in out.list()}
    assert {key for key in now if key.endswith(".cbz") and now[key] != versions[key]} == {"ch1.cbz", "ch3.cbz"}
    report = json.loads(out.read("_mangahue/report.json"))
    assert report["edited"] == {"pages_again": 3, "pages_taken": 1}
    assert json.loads(out.read("_mangahue/job.json"))["palette"] == edited.to_dict()
    assert out.read("_mangahue/report.html").count(b'<figure class="drift"') == 2


def members(uri: str) -> dict[tuple[str, str], bytes]:
    found = {}
    for name in CHAPTERS:
        pages = members_of(open_storage(uri).read(name))
        found |= {(name, page): data for page, data in pages.items()}
    return found
