"""Chapters for tests of colouring: drawn, written to a source, and taken through the stages without Ray."""

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import models
from datasets.archive import find_chapters
from datasets.page import ImageFormat
from datasets.storage import open_storage
from imaging.gate import Thresholds
from imaging.postprocess import PostprocessSettings
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.plan import output_of
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.stages import Stages
from jobs.parts.colorize.tasks import CHUNK_MEMBERS, ChapterTask, Chunk
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, number_of
from jobs.parts.source.policy import Policy

FINGERPRINT = "a1" * 32
SIZE = 32  # side of the square the network sees
LENIENT = Thresholds(dull=0, drab=0, one_hue=1, one_hue_alone=1)  # an untrained network is pale
COMIC_INFO = b"<ComicInfo><Title>x</Title><BlackAndWhite>Yes</BlackAndWhite><Shelf>top</Shelf></ComicInfo>"


def gray_levels(seed: int = 0, height: int = 56, width: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    levels = np.full((height, width), 255, np.uint8)
    levels[5:-5, 5:-5] = rng.integers(60, 255, (height - 10, width - 10))
    levels[::8] = 0
    return levels


def saved(pixels: np.ndarray, image_format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, image_format)
    return out.getvalue()


def gray_page(seed: int = 0, image_format: str = "PNG") -> bytes:
    return saved(gray_levels(seed), image_format)


def color_page(image_format: str = "PNG") -> bytes:
    rgb = np.empty((56, 40, 3), np.uint8)
    rgb[:28], rgb[28:, :20], rgb[28:, 20:] = (220, 40, 40), (30, 90, 200), (240, 230, 60)
    return saved(rgb, image_format)


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
        return {name: archive.read(name) for name in archive.namelist()}


def task_of(home: str, files: Mapping[str, bytes], policy: Policy = Policy()) -> ChapterTask:  # noqa: B008
    """Write these files to the source. Returns the task of the one chapter that they make."""
    for key, data in files.items():
        open_storage(f"{home}/in").put(key, data)
    (ref,) = find_chapters(f"{home}/in")
    return ChapterTask(ref, output_of(ref), over=0, policy=policy)


def over(task: ChapterTask, ledger: Ledger) -> ChapterTask:
    """The task, planned over what the log says now."""
    return replace(task, over=number_of(ledger.manifest(task.ref.rel)))


LONG = {
    **{f"p{i}.png": saved(gray_levels(i, 24, 20)) for i in range(CHUNK_MEMBERS + 4)},
    "ComicInfo.xml": COMIC_INFO,
    "p1.jpg": color_page("JPEG"),
    **{f"q{i}.png": saved(gray_levels(i, 24, 20)) for i in range(CHUNK_MEMBERS)},
}
LONG_OUT = [
    "p1.png.jpg" if name == "p1.png" else name if name in ("ComicInfo.xml", "p1.jpg") else name.replace(".png", ".jpg")
    for name in LONG
]


def stages_of(
    home: str | Path, settings: PageSettings | ImageFormat = "jpeg", fingerprint: str = FINGERPRINT
) -> Stages:
    """The stages of a job that writes to /out.

    settings: of the pages. If only a format is given, the gate passes what an untrained network predicts.
    """
    if not isinstance(settings, PageSettings):
        settings = PageSettings(settings, postprocess=PostprocessSettings(thresholds=LENIENT))
    return Stages(Ledger(f"{home}/out", fingerprint), settings, SIZE)


def color_chapter(task: ChapterTask, stages: Stages, predict: Callable[[Chunk], Chunk]) -> Manifest:
    """Take a chapter through all stages in this process, without Ray. Returns its outcome.

    predict: adds the chroma of each page to be coloured, as predictor.Predictor does.
    """
    of = 0
    for chunk in stages.open(task):
        chunk = stages.postprocess(predict(stages.prepare(chunk)))
        if chunk.outcome is not None:
            return chunk.outcome
        of = chunk.of
    return stages.assemble(task, of)


def color(
    task: ChapterTask, home: str | Path, variant: models.Variant, settings: PageSettings | ImageFormat = "jpeg"
) -> Manifest:
    """Take a chapter through all stages."""
    return color_chapter(task, stages_of(home, settings), Predictor(variant, 4))
