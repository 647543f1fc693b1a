"""The options of jobs/train.py."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from datasets.transforms import AUGMENTS
from jobs.parts.model.folder import BUNDLED, bundled_card
from jobs.parts.runtime.options import DEVICE_HELP, Device, as_settings, option, require, worker_range
from jobs.parts.train.variant_options import default_of, settings_of_all, variant_config
from models import VARIANTS, Precision, VariantConfig

NO_INIT = "none"  # --init of a training that starts from no model
MODEL_OPTIONS = ("target", "base_channels", "image_size", "learning_rate", "optimizer")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train a network on page shards, with as many workers as asked for. A rerun of the same command goes on where it
    stopped.
    """

    data: str = option("Shards that ingest.py wrote.", group="Data", metavar="URI")
    augment: Literal[AUGMENTS] = option(  # type: ignore[valid-type]
        "pix2pix: crop, flip and a jitter of saturation; berserk: rotation, flips, crops of any size, less saturation. "
        "Never hue.",
        group="Data",
        default="pix2pix",
    )
    saturation_jitter: float = option(
        "With --augment pix2pix: a page's saturation is scaled by a factor in [1 - x, 1 + x].",
        group="Data",
        default=0.2,
    )
    run: str = option("Folder of the run: checkpoints, metrics, samples, model/.", group="Output", metavar="URI")
    variant: Literal[tuple(VARIANTS)] = option(  # type: ignore[valid-type]
        "Model variant.", group="Model", default="zhang"
    )
    target: Literal["ab", "rgb"] | None = option(
        f"What the network predicts: chroma for the page's own luminance, or the coloured page. {default_of('target')}",
        group="Model",
        default=None,
    )
    base_channels: int | None = option(
        f"Width of the networks' first layer, channels. {default_of('base_channels')}", group="Model", default=None
    )
    image_size: int | None = option(
        f"Side of the square the network sees, pixels. {default_of('image_size')}", group="Model", default=None
    )
    setting: tuple[str, ...] = option(
        f"A setting of the variant that has no option here; repeat for more. {settings_of_all(MODEL_OPTIONS)}",
        group="Model",
        default=(),
        metavar="NAME=VALUE",
    )
    vgg_weights: str = option(
        "Published ImageNet weights (torchvision's .pth) that colornet and hypercolumn start from, and pix2pixhd's "
        "perceptual loss; random: for smoke runs.",
        group="Model",
        default="",
        metavar="URI",
    )
    init: str = option(
        "Start from this model: another training's RUN/model, or bundled, the model that comes with mangahue. Its "
        f"variant starts from that, with its settings, where nothing is said; {NO_INIT}: it does not.",
        group="Model",
        default="",
        metavar="URI|bundled|none",
    )
    batch_size: int = option("Pages in a batch, per worker.", group="Training", default=4)
    accumulate: int = option("Batches whose gradients make one step.", group="Training", default=1)
    learning_rate: float | None = option(
        f"Learning rate: constant for half of the training, then down to 0. {default_of('learning_rate')}",
        group="Training",
        default=None,
    )
    optimizer: str | None = option(
        f"Optimizer, where the variant has a choice (hypercolumn: sgd, adadelta, adam). {default_of('optimizer')}",
        group="Training",
        default=None,
    )
    clip_norm: float = option("Largest norm of an optimizer's gradient; 0: no limit.", group="Training", default=0.0)
    ema_decay: float = option(
        "Decay of the running average of the weights, which is what colours; 0: the last step's weights colour.",
        group="Training",
        default=0.999,
    )
    seed: int = option("Seed of weights, order and augmentation.", group="Training", default=0)
    deterministic: bool = option(
        "The same command, uninterrupted and stopped by steps, gives the same weights; slower.",
        group="Training",
        default=False,
    )
    max_steps: int = option(
        "Stop after so many steps; 0: no such limit. With neither limit: steps that suit the pages, the weights that "
        "it starts from, and the device; the log says how many.",
        group="Stop",
        default=0,
    )
    max_minutes: float = option("Stop after so many minutes of training; 0: no such limit.", group="Stop", default=0.0)
    early_stop: int = option(
        "Stop after so many held-out evaluations in a row without a better CIEDE2000, and publish the best; 0: never. "
        "Without another limit, after 200 passes over the pages.",
        group="Stop",
        default=0,
    )
    eval_every: int = option("Steps between held-out metrics, samples and checkpoints.", group="Watching", default=200)
    keep_checkpoints: int = option("How many checkpoints are kept.", group="Watching", default=2)
    mlflow: str = option(
        "Log the finished training to this MLflow store too: a folder, or a server's address (extra: tracking).",
        group="Watching",
        default="",
        metavar="URI",
    )
    device: Literal[Device] = option(DEVICE_HELP, group="Cluster", default="auto")
    num_workers: str = option(
        "DDP workers: a count, or LEAST:MOST to use what the cluster has at the time; 0: one per GPU, or one on CPUs.",
        group="Cluster",
        default="0",
        metavar="N|LEAST:MOST",
    )
    precision: Literal[Precision] = option(
        "Precision of the forward passes. auto: bf16 on GPUs that have it, else fp32.", group="Speed", default="auto"
    )
    memory_format: Literal["channels_last", "contiguous"] = option(
        "How images lie in memory.", group="Speed", default="channels_last"
    )
    compile: bool = option(
        "Compile the networks (torch.compile): minutes of start, then faster on GPUs.", group="Speed", default=False
    )

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "batch_size", self.batch_size, "it must be at least 1 page")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "it must be at least 1 batch")
        require(self.seed >= 0, "seed", self.seed, "give a whole number from 0 up")
        require(0 <= self.saturation_jitter <= 1, "saturation_jitter", self.saturation_jitter, "give a value in [0, 1]")
        require(0 <= self.clip_norm < float("inf"), "clip_norm", self.clip_norm, "give 0 for no limit, or a norm")
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "give a value in [0, 1)")
        require(self.eval_every >= 1, "eval_every", self.eval_every, "it must be at least 1 step")
        require(self.early_stop >= 0, "early_stop", self.early_stop, "give 0 for never, or a count of evaluations")
        require(self.keep_checkpoints >= 1, "keep_checkpoints", self.keep_checkpoints, "it must be at least 1")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "give 0 for no limit, or a count of steps")
        require(self.max_minutes >= 0, "max_minutes", self.max_minutes, "give 0 for no limit, or minutes")
        worker_range(self.num_workers)
        _ = self.start, self.model  # looked up once, for all workers

    @cached_property
    def start(self) -> str:
        """The model that the training starts from: its URI, BUNDLED, or "" for none."""
        if self.init:
            return "" if self.init == NO_INIT else self.init
        return BUNDLED if bundled_card(self.variant) else ""

    @cached_property
    def model(self) -> VariantConfig:
        """The variant's config. Raises BadUsageError naming a bad option."""
        given = {name: getattr(self, name) for name in MODEL_OPTIONS}
        card = bundled_card(self.variant) if self.start == BUNDLED else None
        return variant_config(self.variant, given, self.setting, card and card["config"])

    def as_settings(self) -> dict[str, Any]:
        """All choices as plain JSON values: where the training starts as it was resolved, the variant's own choices
        under "model".
        """
        model = as_settings(self.model)
        general = {name: value for name, value in as_settings(self).items() if name not in {*model, "setting"}}
        return {**general, "init": self.start, "model": model}
