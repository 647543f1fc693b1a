"""Published weights of a public code -> a model of ours.

python jobs/import_weights.py --from pix2pix --weights latest_net_G.pth --out RUN/model
"""

from dataclasses import dataclass
from typing import Literal

from datasets.storage import open_storage
from jobs.parts.importing import claim_folder, import_weights, publish, read_images, read_weights, run_raw
from jobs.parts.runtime.options import command, option, require
from jobs.parts.runtime.outcome import Exit
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


def main(config: ImportConfig) -> Exit:
    weights = read_weights(config.weights)
    network = import_weights(config, weights)
    folder = open_storage(config.out)
    claim_folder(folder, config, weights)
    if config.run:
        run_raw(network, read_images(config.run), config)
    publish(folder, config, network, weights)
    return Exit.DONE


cli = command(ImportConfig, main)

if __name__ == "__main__":
    cli()
