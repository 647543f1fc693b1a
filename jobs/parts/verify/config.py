"""The options of jobs/verify.py."""

from dataclasses import dataclass
from typing import Literal

from jobs.parts.runtime.options import option
from jobs.parts.runtime.runner import RUNNER_HELP, RunnerName


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Read again what colorize published, and compare it with the manifests. What is damaged is marked, and the next
    colorize does exactly that again.
    """

    out: str = option("Folder that colorize.py published to.", group="Output", metavar="URI")
    runner: Literal[RunnerName] = option(RUNNER_HELP, group="Cluster", default="auto")
