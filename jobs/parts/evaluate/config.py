"""The options of jobs/evaluate.py."""

from dataclasses import dataclass
from typing import Literal

from jobs.parts.model.folder import BUNDLED
from jobs.parts.runtime.options import DEVICE_HELP, Device, check_actors, option
from jobs.parts.runtime.runner import RUNNER_HELP, RunnerName


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Colour the held-out pages at full size and measure them against the truth, beside two baselines.

    Several models are measured on the same pages, in one table and one report.
    """

    model: tuple[str, ...] = option(
        "Model folder that train.py published (RUN/model), or bundled: the model that comes with mangahue; repeat to "
        "compare.",
        group="Model",
        default=(BUNDLED,),
        metavar="URI",
    )
    data: str = option("Shards that ingest.py wrote, with held-out chapters.", group="Data", metavar="URI")
    out: str = option("Folder of metrics.json, report.html and the pictures.", group="Output", metavar="URI")
    num_actors: str = option(
        "Workers that hold the network; auto: one per GPU, or one per 4 CPUs.",
        group="Cluster",
        default="auto",
        metavar="N|auto",
    )
    runner: Literal[RunnerName] = option(RUNNER_HELP, group="Cluster", default="auto")
    device: Literal[Device] = option(DEVICE_HELP, group="Cluster", default="auto")

    def __post_init__(self) -> None:
        check_actors(self.num_actors, self.runner)
