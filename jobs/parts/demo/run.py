"""The parts of jobs/demo.py. It runs the other jobs as a user would, and checks their result by itself."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from datasets.errors import MangahueError
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.outcome import Exit

log = logging.getLogger("mangahue")
# Share of the gray page's CIEDE2000 that a trained demo may have at most: seeds 0, 1 and 2 have 0.64, 0.68 and 0.52.
WORST_RATIO = 0.75


def run(job: str, **options: object) -> None:
    """Run a job in its own process, with the same interpreter.

    options: the job's options by name, with `_` for `-`.
    Raises MangahueError where the job does not end with exit code 0.
    """
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    log.info("$ python jobs/%s.py %s", job, " ".join(words))
    code = subprocess.run([sys.executable, "-m", f"jobs.{job}", *words], cwd=ROOT).returncode
    if code != Exit.DONE:
        raise MangahueError(f"jobs/{job}.py ended with exit code {code}; its last lines above say why")


def judge(report: Path) -> Exit:
    """Check that the demo learned to colour. Its CIEDE2000 must be at most 0.75 of the gray page's, and below that of
    the training pages' mean chroma.

    report: the folder that evaluate.py wrote.
    Returns DONE or FAILED.
    """
    means = json.loads((report / "metrics.json").read_text())["means"]
    ours, gray, mean = (means[method]["ciede2000"] for method in ("ours", "gray page", "mean chroma"))
    figures = f"CIEDE2000 {ours:.2f}; the gray page {gray:.2f}, the mean chroma {mean:.2f}"
    if ours > WORST_RATIO * gray or ours >= mean:
        log.error("the demo did not learn to colour: %s (at most %.2f wanted)", figures, min(WORST_RATIO * gray, mean))
        return Exit.FAILED
    log.info("%s (%.2f of the gray page's)", figures, ours / gray)
    log.info("report: %s", report / "report.html")
    return Exit.DONE
