"""README's lines for a cluster on one machine, run as they are typed."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.parts.runtime import ROOT
from tests.ray_cluster import RayCluster


def lines_of(heading: str) -> list[str]:
    """The commands of the first block of code under a heading, comments and line continuations taken off."""
    section = (ROOT / "README.md").read_text().partition(f"## {heading}\n")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None, f"README.md has no commands under {heading!r}"
    commands = block.group(1).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", command) for command in commands]


@pytest.fixture
def home(tmp_path: Path, series: Path, model: Path) -> Path:
    """A home folder with what the lines name: a trained model and a library."""
    shutil.copytree(model, tmp_path / "runs/first/model")
    shutil.copytree(series / "ink", tmp_path / "library/bw")
    return tmp_path


@pytest.fixture
def head(home: Path) -> Iterator[RayCluster]:
    """A head that is not started yet, on ports of its own, with the token of this home."""
    cluster = RayCluster({"HOME": str(home)})
    del cluster.environment["RAY_AUTH_MODE"], cluster.environment["RAY_AUTH_TOKEN"]
    yield cluster
    cluster.stop()


def test_the_lines_for_one_machine_colour_a_library(head: RayCluster, home: Path) -> None:
    activate, export, token, start, submit, stop = lines_of("On a cluster")
    assert activate == "source .venv/bin/activate"  # here it is on the path already
    assert stop == "ray stop"  # it would end other clusters on this machine too
    name, _, value = export.removeprefix("export ").partition("=")
    head.environment[name] = value

    shell(token, head)
    head.start_head(start)
    made = shell(submit.replace("http://127.0.0.1:8265", head.dashboard), head)

    assert "--runner auto: on Ray, because RAY_ADDRESS is set" in made
    assert "3 chapters: 3 done" in made
    assert sorted(path.name for path in (home / "library/coloured").glob("*.cbz")) == [
        "ch01.cbz",
        "ch02.cbz",
        "ch03.cbz",
    ]


def shell(line: str, cluster: RayCluster) -> str:
    """Run a line in bash, in the checkout; its output."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout
