"""The jobs at the command line: exit codes, refusals, bad input, a machine with one CPU."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

from datasets.storage import open_storage
from tests.local_machine import LocalMachine
from tests.ray_cluster import ROOT, RayCluster, run


def test_bad_input_is_told_and_loses_nothing(machine: LocalMachine, series: Path, model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(series / "ink", source)
    whole = (source / "ch02.cbz").read_bytes()
    (source / "ch02.cbz").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(source / "ch03.cbz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["002.png"] = members["002.png"][:1000]
    with zipfile.ZipFile(source / "ch03.cbz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    (source / "ch04.cbr").write_bytes(b"Rar!\x1a\x07\x00 and so on")

    command = ("--model", str(model), "--source", str(source), "--out", str(out))
    made = machine.job("colorize", *command)
    assert made.returncode == 3, made.stdout
    report = json.loads((out / "_mangahue/report.json").read_text())
    assert report["chapters"] == {"done": 1, "partial": 1, "quarantined": 2, "failed": 0}
    lines = {Path(line["source"]).name: line for line in report["lines"]}
    assert lines["ch02.cbz"]["code"] == "CUT_OFF"
    assert lines["ch04.cbr"]["code"] == "BROKEN"
    assert "002.png TRUNCATED" in lines["ch03.cbz"]["message"]
    with zipfile.ZipFile(out / "ch03.cbz") as archive:
        assert archive.read("002.png") == members["002.png"]
        assert archive.namelist() == [name if name in ("002.png", "ComicInfo.xml") else name.replace("png", "jpg")
                                      for name in members]  # fmt: skip

    again = machine.job("colorize", *command)
    assert again.returncode == 3, again.stdout
    assert "0 computed now" in again.stdout

    (source / "ch02.cbz").write_bytes(whole)  # the user repairs the file: only that chapter is done
    mended = machine.job("colorize", *command)
    assert mended.returncode == 3, mended.stdout
    assert "4 chapters: 2 done, 1 partial, 1 quarantined, 0 failed; 1 computed now" in mended.stdout


def test_one_bad_object_ends_no_job(machine: LocalMachine, series: Path, model: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    good = [f"good {number}.cbz" for number in range(4)]
    for name in good:
        shutil.copyfile(series / "ink/ch01.cbz", source / name)
    (source / "bad.cbz").write_bytes(b"no archive")
    (out / "_mangahue/chapters/bad.cbz.json").mkdir(parents=True)  # so its quarantine can't be stored
    (source / "link.cbz").symlink_to("nowhere")
    (source / "loop.cbz").symlink_to("loop.cbz")
    os.mkfifo(source / "pipe.cbz")
    (source / "folder.cbz").mkdir()
    (source / "folder.cbz/notes.txt").write_text("no page")

    command = ("--model", str(model), "--source", str(source), "--out", str(out))
    made = machine.job("colorize", *command)
    assert made.returncode == 3, made.stdout
    report = json.loads((out / "_mangahue/report.json").read_text())
    assert report["chapters"] == {"done": 4, "partial": 0, "quarantined": 0, "failed": 4}
    lines = {Path(line["source"]).name: line for line in report["lines"]}
    assert {name for name, line in lines.items() if line["status"] == "done"} == set(good)
    assert lines["bad.cbz"]["code"] == "BROKEN"
    assert "its manifest could not be stored" in lines["bad.cbz"]["message"]
    for name in ("link.cbz", "loop.cbz", "pipe.cbz"):
        assert (lines[name]["status"], lines[name]["code"]) == ("failed", "ObjectNotFoundError")
        assert name in lines[name]["message"]
    assert "bad.cbz: BROKEN" in made.stdout

    (out / "_mangahue/chapters/bad.cbz.json").rmdir()
    again = machine.job("colorize", *command)
    assert again.returncode == 3, again.stdout
    assert "8 chapters: 4 done, 0 partial, 1 quarantined, 3 failed; 1 computed now" in again.stdout


def test_an_output_belongs_to_one_model(machine: LocalMachine, series: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("--model", str(model), "--source", str(series / "ink"), "--out", str(out))
    assert machine.job("colorize", *command).returncode == 0
    first = (out / "ch01.cbz").read_bytes()
    other = machine.job("colorize", *command, "--format", "png")
    assert other.returncode == 2, other.stdout
    assert "has format png instead of jpeg" in other.stdout
    assert (out / "ch01.cbz").read_bytes() == first
    replaced = machine.job("colorize", *command, "--format", "png", "--replace")
    assert replaced.returncode == 0, replaced.stdout
    with zipfile.ZipFile(out / "ch01.cbz") as archive:
        assert "001.png" in archive.namelist()


def test_a_volume_is_coloured_in_chunks_and_put_together_in_order(
    machine: LocalMachine, series: Path, model: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(series / "ink/ch01.cbz") as archive:
        pages = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in/volume.cbz", "w") as volume:
        for i in range(70):
            volume.writestr(f"{i}.png", pages[i % len(pages)])
    out = tmp_path / "out"
    made = machine.job("colorize", "--model", str(model), "--source", str(tmp_path / "in"), "--out", str(out))
    assert made.returncode == 0, made.stdout
    assert "1/1 chapters, 70 pages" in made.stdout
    with zipfile.ZipFile(out / "volume.cbz") as volume:
        assert volume.namelist() == [f"{i}.jpg" for i in range(70)]
        assert volume.read("0.jpg") == volume.read("69.jpg")
        assert volume.read("0.jpg") != volume.read("1.jpg")
    manifest = json.loads((out / "_mangahue/chapters/volume.cbz.json").read_text())
    assert [page["index"] for page in manifest["pages"]] == list(range(70))
    assert not list(open_storage(str(out)).list("_mangahue/pieces/"))


def test_one_cpu_and_no_cluster_are_enough(series: Path, model: Path, tmp_path: Path) -> None:
    """`python -m jobs.colorize` starts a local cluster; with one CPU it does not wait for ever."""
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    folder = tmp_path / "in/A folder of pages"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(series / "color/ch01.cbz") as colour, zipfile.ZipFile(series / "ink/ch01.cbz") as ink:
        (folder / "1.png").write_bytes(ink.read("001.png"))
        (folder / "2.png").write_bytes(colour.read("002.png"))
        (folder / "notes.txt").write_text("kept")
    one = min(os.sched_getaffinity(0))
    command = ["taskset", "-c", str(one), sys.executable, "-m", "jobs.colorize"]
    command += ["--model", str(model), "--source", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    made = run(command, environment)
    assert made.returncode == 0, made.stdout
    assert "1 CPUs" in made.stdout
    out = open_storage(str(tmp_path / "out/A folder of pages"))
    assert [entry.key for entry in out.list()] == ["1.jpg", "2.png", "notes.txt"]
    assert out.read("2.png") == (folder / "2.png").read_bytes()  # in colour already


def test_what_can_not_be_done_is_bad_usage(tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    (tmp_path / "empty").mkdir()
    for words, told in (
        (["colorize", "--model", str(tmp_path), "--source", "x", "--out", "y"], "model.json"),
        (["train", "--data", str(tmp_path), "--run", str(tmp_path / "run")], "shards.json"),
        (["ingest", "--color", str(tmp_path / "empty"), "--out", str(tmp_path / "out")], "empty or does not exist"),
        (["evaluate", "--model", str(tmp_path), "--data", str(tmp_path), "--out", "gopher://x"], "--data"),
    ):
        made = run([sys.executable, f"jobs/{words[0]}.py", *words[1:]], environment, ROOT)
        assert made.returncode == 2, made.stdout
        assert told in made.stdout
        assert "Traceback" not in made.stdout


def test_a_training_that_leaves_the_numbers_stops(cluster: RayCluster, series: Path, tmp_path: Path) -> None:
    shards, run_folder = tmp_path / "shards", tmp_path / "run"
    made = cluster.job("ingest", "--color", str(series / "color"), "--out", str(shards), "--holdout", "ch03")
    assert made.returncode == 0, made.stdout
    trained = cluster.job(
        "train", "--variant", "pix2pix", "--base-channels", "4", "--image-size", "64", "--batch-size", "2",
        "--num-workers", "2", "--data", str(shards), "--run", str(run_folder), "--max-steps", "40",
        "--eval-every", "20", "--setting", "l1_weight=1e39",
    )  # fmt: skip
    assert trained.returncode == 1, trained.stdout
    assert "is not finite (NaN or infinity) at step" in trained.stdout
    assert "the loss '" in trained.stdout
    assert "--learning-rate" in trained.stdout
    assert not (run_folder / "model").exists()
    assert not list(run_folder.rglob("state.safetensors"))  # nor is there a checkpoint to go on from
