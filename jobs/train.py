"""Page shards -> a trained colourist.

python jobs/train.py --variant pix2pix --data SHARDS --run URI
"""

from dataclasses import dataclass
from typing import Literal

from datasets.errors import BadUsageError
from datasets.shards import ShardSet
from datasets.storage import open_storage
from jobs.parts.cluster import connect
from jobs.parts.options import command, option, require
from jobs.parts.outcome import Exit
from jobs.parts.publishing import already_trained, claim, publish_model
from jobs.parts.training import fit
from models import VARIANTS


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a colourist on page shards, with as many workers as asked for; a rerun of the same command goes on."""

    data: str = option("Shards that ingest.py wrote.", group="Data", metavar="URI")
    run: str = option("Folder of the run: checkpoints, metrics, samples, model/.", group="Output", metavar="URI")
    variant: Literal[tuple(VARIANTS)] = option(  # type: ignore[valid-type]
        "Model variant.", group="Model", default="pix2pix"
    )
    target: Literal["ab", "rgb"] = option(
        "What the network predicts: chroma under the page's own luminance, or the coloured page.",
        group="Model",
        default="ab",
    )
    base_channels: int = option("Width of the networks' first layer, channels.", group="Model", default=64)
    image_size: int = option("Side of the square the network sees, pixels.", group="Model", default=256)
    batch_size: int = option("Pages in a step, per worker.", group="Training", default=4)
    learning_rate: float = option(
        "Adam's rate: constant for half of the training, then down to 0.", group="Training", default=2e-4
    )
    saturation_jitter: float = option(
        "Saturation of a page is scaled by a factor in [1 - x, 1 + x].", group="Training", default=0.2
    )
    seed: int = option("Seed of weights, order and augmentation.", group="Training", default=0)
    max_steps: int = option(
        "Stop after so many steps; 0: no such limit. With neither limit: 200 passes over the pages, as published.",
        group="Stop",
        default=0,
    )
    max_minutes: float = option("Stop after so many minutes of training; 0: no such limit.", group="Stop", default=0.0)
    eval_every: int = option("Steps between held-out metrics, samples and checkpoints.", group="Watching", default=200)
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto: GPUs where the cluster has any now; cuda asks an autoscaler for them too.",
        group="Cluster",
        default="auto",
    )
    num_workers: int = option("DDP workers; 0: one per GPU of the cluster, or one on CPUs.", group="Cluster", default=0)

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "it must be at least 1 page")
        require(self.seed >= 0, "seed", self.seed, "give a whole number from 0 up")
        require(0 <= self.saturation_jitter <= 1, "saturation_jitter", self.saturation_jitter, "it lies in [0, 1]")
        require(self.eval_every >= 1, "eval_every", self.eval_every, "it must be at least 1 step")
        require(self.num_workers >= 0, "num_workers", self.num_workers, "give 0 for automatic, or a count")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "give 0 for no limit, or a count of steps")
        require(self.max_minutes >= 0, "max_minutes", self.max_minutes, "give 0 for no limit, or minutes")
        try:
            VARIANTS[self.variant].config_type(
                target=self.target,
                image_size=self.image_size,
                base_channels=self.base_channels,
                learning_rate=self.learning_rate,
            )
        except ValueError as error:
            option_name, _, told = str(error).partition(" ")  # the variant's config names its own field first
            raise BadUsageError(f"--{option_name.replace('_', '-')} {told}") from error


def main(config: TrainConfig) -> Exit:
    shards = ShardSet.open(config.data)
    run = open_storage(config.run)
    claim(run, config, shards)
    if already_trained(run, config):
        return Exit.DONE
    cluster = connect(state_api=True)
    result = fit(config, shards, cluster)
    publish_model(run, config, shards, result)
    return Exit.DONE


cli = command(TrainConfig, main)

if __name__ == "__main__":
    cli()
