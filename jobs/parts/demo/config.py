"""The options of jobs/demo.py."""

from dataclasses import dataclass

from jobs.parts.runtime.options import option, require


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Draw a comic series, colour its last chapter with the model that comes with mangahue, train that model on the
    other chapters for a fixed number of steps, colour the chapter again, and measure both.
    """

    out: str = option("Folder of all that the demo makes.", group="Output", default="out/demo", metavar="DIR")
    steps: int = option("Steps of the training.", group="Training", default=120)
    num_workers: int = option("DDP workers.", group="Training", default=2)
    seed: int = option("Seed of the series and of the training.", group="Series", default=0)

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "give at least 1")
        require(self.num_workers >= 1, "num_workers", self.num_workers, "give at least 1")
