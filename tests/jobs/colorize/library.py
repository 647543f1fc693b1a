"""Sources and an output folder, coloured without Ray as often as a test asks for."""

from pathlib import Path

import torch

import models
from datasets.storage import open_storage
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.colorize.stages import Stages
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest
from tests.archives import zipped
from tests.jobs.colorize.chapters import color_chapter, gray_page, members_of


class Library:
    """home: holds the sources and `out`. computed: chapters of the last run that were not done already."""

    def __init__(self, home: Path, model: Path) -> None:
        self.home, self.model = home, model
        self.out = home / "out"

    def put(self, key: str, data: bytes) -> None:
        open_storage(str(self.home)).put(key, data)

    def run(self, source: str = "in", **options: object) -> dict[str, Manifest]:
        """What becomes of each chapter."""
        self.config = config = ColorizeConfig(
            model=str(self.model), source=str(self.home / source), out=str(self.out), **options,  # type: ignore[arg-type]
        )  # fmt: skip
        settings = JobSettings.of(config)
        self.ledger = ledger = Ledger(config.out, settings.fingerprint, settings.pages.palette)
        state = plan(config.source, ledger, settings, replace=config.replace)
        torch.manual_seed(0)
        variant = models.load(*((self.model / name).read_bytes() for name in ("model.json", "model.safetensors")))[0]
        for task in state.tasks:
            stages = Stages(ledger, settings.pages, settings.image_size)
            state.record(color_chapter(task, stages, Predictor(variant, 4, marked=settings.marked)))
        self.computed = state.computed
        return state.results


def good(seed: int) -> bytes:
    return zipped({"1.png": gray_page(seed), "2.png": gray_page(seed + 50)})


def published(library: Library, name: str) -> dict[str, bytes]:
    """The members of a chapter in the output, by name."""
    path = library.out / name
    if path.is_file():
        return members_of(path.read_bytes())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}
