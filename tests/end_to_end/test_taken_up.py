"""What an earlier commit published is taken up as this job's own: nothing is done twice, nothing is refused."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.compatibility.make_fixtures import COLORINGS, DATA, STEPS, colorize, lay_out, train
from tests.local_machine import LocalMachine
from tests.ray_cluster import RayCluster

CHAPTERS = {"followed": 6, "salvaged": 1, "strict": 1}
EXITS = json.loads((DATA / "made.json").read_text())["exits"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lay_out(tmp_path / "home")
    return tmp_path / "home"


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    """The digest of every file, and the time of its last change."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(f): (hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns) for f in files}


@pytest.mark.parametrize("name", COLORINGS)
def test_a_coloured_folder_is_done(machine: LocalMachine, home: Path, name: str) -> None:
    before = contents(home)
    again = machine.job("colorize", *colorize(home, name))
    assert again.returncode == EXITS[name], again.stdout
    assert f"{CHAPTERS[name]} chapters, {CHAPTERS[name]} done already, 0 to do" in again.stdout
    assert "0 computed now" in again.stdout
    assert contents(home) == before


@pytest.mark.parametrize("name", ["followed", "salvaged"])
def test_a_coloured_folder_is_whole(machine: LocalMachine, home: Path, name: str) -> None:
    out = home / "out" / name
    verified = machine.job("verify", "--out", str(out))
    assert verified.returncode == 0, verified.stdout
    chapters = len(list((out / "_mangahue/chapters").iterdir()))
    assert f"{chapters} chapters verified, 0 findings" in verified.stdout
    assert "belongs to no chapter" not in verified.stdout


def test_a_training_goes_on_from_its_checkpoint(cluster: RayCluster, home: Path) -> None:
    run = home / "run"
    before = {path: told for path, told in contents(run).items() if Path(path).name != "config.json"}
    done = cluster.job("train", *train(home))
    assert done.returncode == EXITS["train"] == 0, done.stdout
    assert "nothing to do" in done.stdout
    assert {path: told for path, told in contents(run).items() if Path(path).name != "config.json"} == before

    points = (run / "metrics.jsonl").read_text().splitlines()
    longer = cluster.job("train", *train(home, STEPS + 2))
    assert longer.returncode == 0, longer.stdout
    now = (run / "metrics.jsonl").read_text().splitlines()
    assert now[: len(points)] == points
    steps = [json.loads(point)["step"] for point in now[len(points) :]]
    assert set(steps) <= {STEPS + 1, STEPS + 2}
    assert steps[-1] == STEPS + 2
    assert json.loads((run / "model/model.json").read_text())["steps"] == STEPS + 2
    (state,) = (run / "checkpoints").glob("checkpoint_*/state.safetensors")
    with safe_open(state, "pt") as tensors:  # the optimizer has made all steps
        made = {int(tensors.get_tensor(key)) for key in tensors.keys() if key.endswith(".step")}  # noqa: SIM118
    assert made == {STEPS + 2}


def test_a_model_colours(machine: LocalMachine, home: Path) -> None:
    out = home / "out/new"
    words = ("--model", str(home / "run/model"), "--source", str(home / "library/ch04"), "--out", str(out))
    coloured = machine.job("colorize", *words)
    assert coloured.returncode == 0, coloured.stdout
    assert (out / "ch04/1.jpg").is_file()
    card = json.loads((home / "run/model/model.json").read_text())
    assert json.loads((out / "_mangahue/job.json").read_text())["weights_sha256"] == card["weights_sha256"]
