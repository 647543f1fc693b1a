"""How well text (bubbles, captions and lettering) is found, on pages that exist with it and without.

python -m benchmarks.text --lettered DATA/peppercarrot \\
    --art DATA/peppercarrot-art --chapters ep10,ep19

The gray form of the lettered page is tested. The truth is where the two editions differ by more than 24 levels in a
channel. It is closed with a disc of 41 pixels, and then only what differs or is as bright as paper is kept. So the part
of a bubble over white art or a gutter counts as its inside too. Specks are removed by opening. A region of the truth
that is mostly darker than paper is lettering drawn over the art (a sound effect, a sign, a dimmed bubble). It is
counted neither way.

precision: the share of what was found that is true, in pixels.
recall: the share of the truth that was found, in pixels.
harmless: the share of what was found wrongly that is as bright as paper and colourless in the art as well; mostly
    gutters and margins.
letters: the share of the dark pixels within the truth that were found.
ms: processor time of one thread.
"""

import time
from dataclasses import astuple, dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image

from benchmarks.pages import pages
from imaging.color import U8, gray_of_equal_lightness, to_lab
from imaging.components import Mask
from imaging.text import find_text

_DIFFERENT = 24  # levels; the editions' JPEGs differ by less
_PAPER = 225  # gray level
_COLORLESS = 5.0  # chroma, CIELAB
_BRIDGED = 41  # pixels across which the truth is closed; a gutter is 26 wide
_LEAST = 300  # pixels of a region


@dataclass(frozen=True)
class Count:
    """Sums over pages, in pixels.

    right: found and true.
    wrong: found and false.
    harmless: those of the wrong that do no harm.
    missed: true and not found.
    letters: dark pixels in the truth.
    covered: those of the letters that were found.
    seconds: processor time.
    pages: how many.
    """

    right: int = 0
    wrong: int = 0
    harmless: int = 0
    missed: int = 0
    letters: int = 0
    covered: int = 0
    seconds: float = 0.0
    pages: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        def share(part: int, whole: int) -> str:
            return f"{part / whole:.3f}" if whole else "  -  "

        return (
            f"precision {share(self.right, self.right + self.wrong)} "
            f"(harmless {share(self.harmless, self.wrong)} of the wrong)  "
            f"recall {share(self.right, self.right + self.missed)}  letters {share(self.covered, self.letters)}  "
            f"{self.seconds / max(self.pages, 1) * 1000:.0f} ms a page, {self.pages} pages"
        )


def truth(lettered: U8, art: U8) -> tuple[Mask, Mask]:
    """(H, W) each: the mask of text, and the mask of what is counted neither way.

    lettered, art: (H, W, 3) sRGB.
    """
    differs = (cv2.absdiff(lettered, art).max(axis=2) > _DIFFERENT).astype(np.uint8)
    paper = (gray_of_equal_lightness(lettered) >= _PAPER).astype(np.uint8)
    ample = cv2.copyMakeBorder(differs, *[_BRIDGED] * 4, cv2.BORDER_CONSTANT, value=0)
    ample = cv2.morphologyEx(ample, cv2.MORPH_CLOSE, _disc(_BRIDGED))
    near = ample[_BRIDGED:-_BRIDGED, _BRIDGED:-_BRIDGED]
    inside = near & (paper | cv2.dilate(differs, np.ones((3, 3), np.uint8)))
    inside = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, _disc(5))
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, _disc(5))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    area = np.maximum(stats[:, 4], 1)
    bright = np.bincount(labels.ravel(), weights=paper.ravel(), minlength=count) / area
    text = (bright > 0.5) & (area > _LEAST)
    text[0] = False
    return text[labels], ~text[labels] & (labels > 0)


def compare(found: Mask, lettered: U8, art: U8) -> Count:
    """The counts of one page, without the time."""
    text, either = truth(lettered, art)
    wrong = found & ~text & ~either
    lab = to_lab(art)
    plain = (gray_of_equal_lightness(art) >= _PAPER) & (np.hypot(lab[..., 1], lab[..., 2]) < _COLORLESS)
    # The edge of a bubble is smoothed into its surroundings: the dark pixels there are no letters.
    inner = cv2.erode(text.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    letters = inner & (gray_of_equal_lightness(lettered) < 128)
    masks = (found & text, wrong, wrong & plain, text & ~found, letters, letters & found)
    return Count(*(int(mask.sum()) for mask in masks), pages=1)


def overlay(found: Mask, lettered: U8, art: U8) -> U8:
    """The gray page, tinted. Green: found and true; red: found and false; blue: missed; yellow: found, counted neither
    way.
    """
    text, either = truth(lettered, art)
    picture = np.repeat(gray_of_equal_lightness(lettered)[..., None], 3, axis=2)
    kinds = ((found & text, (0, 160, 0)), (found & ~text & ~either, (220, 0, 0)))
    for mask, tint in (*kinds, (text & ~found, (0, 0, 220)), (found & either, (200, 200, 0))):
        picture[mask] = picture[mask] // 2 + np.array(tint, np.uint8) // 2
    return picture


def _disc(size: int) -> U8:
    disc: U8 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return disc


@click.command()
@click.option("--lettered", required=True, help="Folder of the lettered pages.")
@click.option("--art", required=True, help="Folder of the same pages without text.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--overlays", type=click.Path(path_type=Path), help="Folder for pictures of what was found.")
def main(lettered: str, art: str, chapters: str, overlays: Path | None) -> None:
    """Print precision and recall, over all pages and for each chapter."""
    cv2.setNumThreads(1)
    chosen = {name.strip() for name in chapters.split(",") if name.strip()}
    bare = {(chapter, name): page for chapter, name, page in pages(art, chosen)}
    counts: dict[str, Count] = {}
    for chapter, name, page in pages(lettered, chosen):
        twin = bare.get((chapter, name))
        if twin is None or twin.shape != page.shape:
            size = "not there" if twin is None else f"{twin.shape[1]} x {twin.shape[0]}"
            click.echo(f"{chapter}/{name}: left out; {page.shape[1]} x {page.shape[0]}, its art {size}")
            continue
        gray = gray_of_equal_lightness(page)
        start = time.process_time()
        found = find_text(gray)
        seconds = time.process_time() - start
        counts[chapter] = counts.get(chapter, Count()) + compare(found, page, twin) + Count(seconds=seconds)
        if overlays is not None:
            overlays.mkdir(parents=True, exist_ok=True)
            Image.fromarray(overlay(found, page, twin)).save(overlays / f"{chapter.replace('/', '_')}_{name}.png")
    for chapter, count in counts.items():
        click.echo(f"{chapter}: {count}")
    click.echo(f"all: {sum(counts.values(), Count())}")


if __name__ == "__main__":
    main()
