"""Sets of pages with known pairs, on disk as two libraries, and what a pairing made of them."""

import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from benchmarks.pair_pages import MadePair, make_pair
from datasets.page import decode

_PARTS, _ALIKE, _ALONE, _GRAY_ALONE = 0.15, 0.08, 0.2, 0.08  # shares of the pages


@dataclass(frozen=True)
class Known:
    """What is true of a colour picture.

    gray: the name of its page; None where it has none.
    kind: of `MadePair`.
    size: (width, height).
    """

    gray: str | None
    kind: str
    size: tuple[int, int]
    made: MadePair


def page_paths(roots: Sequence[Path], art: Path | None, most: int, seed: int) -> list[tuple[Path, Path]]:
    """(page, the same without lettering) of up to `most` pages below the folders, by chance.

    art: the folder with the pages of the first root without lettering; None where there is none.
    """
    found = []
    for root in roots:
        paths = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
        chosen = np.random.default_rng(seed).permutation(len(paths))[:most]
        for path in (paths[i] for i in sorted(chosen)):
            bare = art / path.relative_to(root) if art and root == roots[0] else path
            found.append((path, bare if bare.exists() else path))
    return found


def write_set(paths: Sequence[tuple[Path, Path]], folder: Path, seed: int) -> dict[str, Known]:
    """Write color/ and gray/ below a folder. Returns what is true of each colour picture, by its name."""
    chance = np.random.default_rng([seed, 1])
    order = chance.permutation(len(paths)) if seed % 2 else (np.arange(len(paths)) + 3) % len(paths)
    tasks = []
    for i, (page, bare) in enumerate(paths):
        kind = chance.random()
        other = paths[(i + 1) % len(paths)][1]
        alone = "alone" if chance.random() < _ALONE else "gray" if chance.random() < _GRAY_ALONE else ""
        tasks.append((i, page, bare, None, kind < _PARTS, alone, seed))
        if _PARTS <= kind < _PARTS + _ALIKE:
            tasks.append((i, page, bare, other, False, "", seed))
    truth = {}
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:  # a fork of a process with threads may hang
        for number, (task, made) in enumerate(zip(tasks, pool.map(_make, tasks, chunksize=4), strict=True)):
            name = f"{int(order[task[0]]):04d}-{number}.jpg"
            if made.color is not None:
                _put(folder / "color/set" / name, made.color)
            if made.gray is not None:
                _put(folder / f"gray/ch{number // 20:03d}/{number:04d}.jpg", made.gray)
            if made.color is not None:
                size = decode(made.color).shape[1::-1]
                gray = None if made.gray is None else f"ch{number // 20:03d}/{number:04d}.jpg"
                truth[f"set/{name}"] = Known(gray, made.kind, (size[0], size[1]), made)
    (folder / "truth.pickle").write_bytes(pickle.dumps(truth))
    return truth


def _make(task: tuple[int, Path, Path, Path | None, bool, str, int]) -> MadePair:
    cv2.setNumThreads(1)
    number, page, bare, other, part, alone, seed = task
    rng = np.random.default_rng([seed, 2, number, other is not None])
    lettered, art = decode(page.read_bytes()), decode(bare.read_bytes())
    if art.shape != lettered.shape:
        art = lettered
    made = make_pair(str(page), lettered, art, None if other is None else decode(other.read_bytes()), rng, part)
    if alone == "alone":
        return MadePair(made.name, made.color, None, "alone")
    if alone == "gray":
        return MadePair(made.name, None, made.gray, "gray alone")
    return made


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
