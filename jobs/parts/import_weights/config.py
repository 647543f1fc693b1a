"""The options of jobs/import_weights.py."""

from dataclasses import dataclass
from typing import Literal

from jobs.parts.runtime.options import option, require
from models.importing import SOURCES


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Turn a public code's generator into a model that colorize.py and evaluate.py take: same weights, same output."""

    source: Literal[tuple(SOURCES)] = option(  # type: ignore[valid-type]
        "The public code: pix2pix and cyclegan (junyanz: U-Net, ResNet generator), pix2pixhd (NVIDIA: GlobalGenerator, "
        "LocalEnhancer), zhang (richzhang: ECCV16), berserk (the notebook's generator).",
        group="Input",
        flag="from",
    )
    weights: str = option("Its generator's state dict, a .pth of torch.save.", group="Input", metavar="URI")
    out: str = option("Folder of the model: model.safetensors, model.json.", group="Output", metavar="URI")
    run: str = option(
        "Images to put through the imported generator as its public code would: float32 N x C x H x W in [-1, 1]; for "
        "zhang L in [0, 100].",
        group="Check",
        default="",
        metavar="IN.npy",
    )
    save: str = option(
        "Where its output goes, as it is: float32 N x C x H x W in [-1, 1]; for zhang ab.",
        group="Check",
        default="",
        metavar="OUT.npy",
    )

    def __post_init__(self) -> None:
        require(bool(self.save) or not self.run, "save", self.save, "give the .npy that the output of --run goes to")
        require(
            bool(self.run) or not self.save, "run", self.run, "give the .npy of images that --save is the output of"
        )
