"""Two editions of drawn pages whose pairs are known."""

from pathlib import Path

import numpy as np

from datasets.page import encode
from jobs.parts.pair.config import PairConfig
from jobs.parts.pair.run import pair
from jobs.parts.runtime.claims import read_json
from tests.imaging.editions import page, printed, turned

ALONE, GRAY_ALONE, PART, MIRRORED = 3, 4, 5, 1  # pages: without a gray partner, without a colour one, a part, mirrored
PAGES = range(1, 7)


def color_name(number: int) -> str:
    """The colour pictures are in another order than the pages."""
    return f"all/x{(number * 5) % 7}.jpg"


def gray_name(number: int) -> str:
    return f"vol{number // 4}/{number:03d}.png"


def write_editions(folder: Path) -> None:
    """color/ and gray/ below a folder; a broken picture among the colours."""
    for number in PAGES:
        ink, color = page(number)
        if number != ALONE:
            sheet = printed(ink, turned(number - 3.5, 0.95, (20, 15)), (640, 900))
            put(folder / "gray" / gray_name(number), encode(np.repeat(sheet[..., None], 3, axis=2), "png"))
        if number == PART:
            color = color[200:700, 100:500]
        if number == MIRRORED:
            color = np.ascontiguousarray(color[:, ::-1])
        if number != GRAY_ALONE:
            put(folder / "color" / color_name(number), encode(color, "jpeg"))


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def config(folder: Path, **more) -> PairConfig:
    given = {"gray": "gray", "color": "color", "out": "out"}
    options = {"runner": "local", "holdout": "vol1", **{name: str(folder / part) for name, part in given.items()}}
    return PairConfig(**{**options, **more})


def run(folder: Path, **more) -> tuple[int, dict]:
    """The exit code, and the records of pairs.json by colour picture."""
    from datasets.storage import open_storage

    code = pair(config(folder, **more))
    told = read_json(open_storage(str(folder / "out")), "pairs.json") or {"pairs": []}
    return code, {record["color"]: record for record in told["pairs"]}
