"""How often the detector of colour pages is wrong, on pages whose truth is known.

python -m benchmarks.detector --gray BW --color DATA

Colour pages are tested as they are, and then as gray pages in three forms: plain, on yellowed paper, and as a JPEG of
low quality with subsampled, slightly tinted chroma, like old scans.
"""

import io
from collections import Counter

import click
import numpy as np
from PIL import Image

from benchmarks.pages import pages
from datasets.page import decode
from imaging.color import U8, gray_of_equal_lightness, is_color_page

_PAPER = np.array([255, 244, 214]) / 255  # paper of an old book
_TINT = np.array([4, 0, -4])  # sRGB levels


def yellowed(gray: U8) -> U8:
    """The gray page (H, W) on old paper: (H, W, 3)."""
    return np.round(gray[..., None] * _PAPER).astype(np.uint8)


def scanned(gray: U8) -> U8:
    """The gray page (H, W) as an old scan: (H, W, 3), slightly tinted, through a JPEG."""
    tinted = np.clip(gray[..., None].astype(int) + _TINT, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(tinted).save(out, "JPEG", quality=50, subsampling=2)
    return decode(out.getvalue())


@click.command()
@click.option("--gray", required=True, help="Folder of black-and-white pages.")
@click.option("--color", required=True, help="Folder of colour pages.")
def main(gray: str, color: str) -> None:
    """Print how many pages of each kind were tested, and which were judged wrongly."""
    asked, wrong = Counter[str](), []

    def ask(kind: str, name: str, page: U8, truth: bool) -> None:
        asked[kind] += 1
        if is_color_page(page) != truth:
            wrong.append(f"{kind}: {name}")

    for chapter, name, page in pages(gray):
        ask("black-and-white", f"{chapter}/{name}", page, False)
    for chapter, stem, page in pages(color):
        name = f"{chapter}/{stem}"
        ask("colour", name, page, True)
        level = gray_of_equal_lightness(page)
        ask("gray form", name, np.repeat(level[..., None], 3, axis=2), False)
        ask("gray form, yellowed", name, yellowed(level), False)
        ask("gray form, tinted JPEG", name, scanned(level), False)
    missed = Counter(line.partition(":")[0] for line in wrong)
    for kind, count in asked.items():
        click.echo(f"{kind}: {missed[kind]} of {count} wrong")
    for line in wrong:
        click.echo(f"  {line}")


if __name__ == "__main__":
    main()
