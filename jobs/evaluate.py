"""Metrics on held-out pages, and the report.

python jobs/evaluate.py --model RUN/model --data SHARDS --out URI
"""

from dataclasses import dataclass
from typing import Literal

from datasets.shards import ShardSet
from datasets.storage import open_storage
from jobs.parts.evaluating import find_candidates, measure_pages, publish, require_holdout
from jobs.parts.runtime.cluster import actor_count, connect
from jobs.parts.runtime.options import command, option
from jobs.parts.runtime.outcome import Exit


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Colour the held-out pages at full size and measure them against the truth, beside two baselines.

    Several models are measured on the same pages, in one table and one report.
    """

    model: tuple[str, ...] = option(
        "Model folder that train.py published (RUN/model); repeat to compare.", group="Model", metavar="URI"
    )
    data: str = option("Shards that ingest.py wrote, with held-out chapters.", group="Data", metavar="URI")
    out: str = option("Folder of metrics.json, report.html and the pictures.", group="Output", metavar="URI")
    num_actors: str = option(
        "Workers that hold the network; auto: one per GPU, or one per 4 CPUs.",
        group="Cluster",
        default="auto",
        metavar="N|auto",
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto: GPUs where the cluster has any now; cuda asks an autoscaler for them too.",
        group="Cluster",
        default="auto",
    )

    def __post_init__(self) -> None:
        actor_count(self.num_actors)


def main(config: EvaluateConfig) -> Exit:
    shards = ShardSet.open(config.data)
    require_holdout(shards)
    candidates = find_candidates(config.model)
    cluster = connect()
    pages = measure_pages(config, shards, candidates, cluster)
    return publish(open_storage(config.out), config, candidates, pages)


cli = command(EvaluateConfig, main)

if __name__ == "__main__":
    cli()
