"""The parts of jobs/demo.py. It runs the other jobs as a user would, and checks their result by itself."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from datasets.errors import MangahueError
from jobs.parts.model.folder import BUNDLED
from jobs.parts.runtime import ROOT
from jobs.parts.runtime.outcome import Exit

log = logging.getLogger("mangahue")
# Limits of the trained model on the held-out chapter. Seeds 0, 1 and 2 have 0.55, 0.55 and 0.49 of the gray page's
# CIEDE2000, 0.77, 0.81 and 0.83 of the bundled model's, and 0.21, 0.11 and 0.12 more of the areas named right.
MOST_OF_GRAY = 0.65
MOST_OF_START = 0.92
LEAST_MORE_NAMES = 0.05


def run(job: str, **options: object) -> None:
    """Run a job in its own process, with the same interpreter.

    options: the job's options by name, with `_` for `-`; a tuple for one that is given several times.
    Raises MangahueError where the job does not end with exit code 0.
    """
    words: list[str] = []
    for name, values in options.items():
        for value in values if isinstance(values, tuple) else (values,):
            words += [f"--{name.replace('_', '-')}", str(value)]
    log.info("$ python jobs/%s.py %s", job, " ".join(words))
    code = subprocess.run([sys.executable, "-m", f"jobs.{job}", *words], cwd=ROOT).returncode
    if code != Exit.DONE:
        raise MangahueError(f"jobs/{job}.py ended with exit code {code}; its last lines above say why")


def judge(report: Path, trained: str) -> Exit:
    """Check that the training added to what the bundled model does, on a chapter that neither has seen.

    report: the folder that evaluate.py wrote for both.
    trained: the name of the trained model there.
    Returns DONE or FAILED.
    """
    means = json.loads((report / "metrics.json").read_text())["means"]
    ours, start, gray = (means[method]["ciede2000"] for method in (trained, BUNDLED, "gray page"))
    names, names_before = (means[method]["color_names"] for method in (trained, BUNDLED))
    figures = (
        f"CIEDE2000 {ours:.2f}, {start:.2f} before the training, {gray:.2f} of the gray page; "
        f"areas whose colour is named right {names:.2f}, {names_before:.2f} before"
    )
    most, least = min(MOST_OF_GRAY * gray, MOST_OF_START * start), names_before + LEAST_MORE_NAMES
    if not (ours <= most and names >= least):
        log.error(
            "the training did not learn the series: %s (at most %.2f and at least %.2f wanted)", figures, most, least
        )
        return Exit.FAILED
    log.info("%s", figures)
    log.info("report: %s", report / "report.html")
    return Exit.DONE
