"""Ray Data calls our pause in its scheduling loop, and its operators tell what moved."""

import subprocess
import sys

from jobs.parts.runtime import ROOT
from tests.ray_cluster import RayCluster

ON_RAY = """
import ray.data
from jobs.parts.runtime import pacing
from jobs.parts.runtime.cluster import connect
connect()
turns, pauses = [], []
turn = pacing.Paced.on_execution_step
pacing.time = type("Time", (), {"sleep": staticmethod(pauses.append)})
def counted(self, executor):
    turn(self, executor)
    turns.append(self._moved)
pacing.Paced.on_execution_step = counted
ray.data.range(40, override_num_blocks=40).map(lambda row: row).materialize()
print("turns", len(turns), "pauses", len(pauses), "moved", turns[0], turns[-1])
"""


def test_ray_calls_it_and_tells_what_moved(cluster: RayCluster) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY], cwd=ROOT, env=cluster.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    _, turns, _, pauses, _, first, last = done.stdout.split()
    assert 0 < int(pauses) < int(turns)
    assert int(first) < int(last)
    assert int(last) >= 40
