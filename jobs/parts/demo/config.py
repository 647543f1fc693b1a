"""The options of jobs/demo.py."""

from dataclasses import dataclass

from jobs.parts.runtime.options import option, require


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Draw a comic series, train a small pix2pix on it, colour a chapter it has not seen, and measure the result."""

    out: str = option("Folder of all that the demo makes.", group="Output", default="out/demo", metavar="DIR")
    minutes: float = option("Training time, minutes.", group="Training", default=7.5)
    num_workers: int = option("DDP workers.", group="Training", default=2)
    seed: int = option("Seed of the series and of the training.", group="Series", default=0)

    def __post_init__(self) -> None:
        require(self.minutes > 0, "minutes", self.minutes, "give a time above 0")
        require(self.num_workers >= 1, "num_workers", self.num_workers, "give at least 1")
