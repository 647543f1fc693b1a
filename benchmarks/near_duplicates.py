"""Near-duplicates: how many other files of a page are found, and how many other pages are taken for one.

python -m benchmarks.near_duplicates --pages DATA/storybooks --every 4
"""

import io
import random

import click
import cv2
import numpy as np
from PIL import Image

from benchmarks.pages import pages
from imaging.color import U8, gray_of_equal_lightness
from imaging.near_duplicates import Look, look_of, near_duplicates


@click.command(context_settings={"show_default": True})
@click.option("--pages", "root", required=True, help="Folder of colour chapters.")
@click.option("--every", default=1, help="Take each page of this number.")
@click.option("--seed", default=0, help="Of the other files.")
def main(root: str, every: int, seed: int) -> None:
    """Print the counts, and the pages that are taken for one."""
    chance = random.Random(seed)
    names, looks, others = [], [], []
    for number, (chapter, name, page) in enumerate(pages(root)):
        if number % every == 0:
            names.append(f"{chapter}/{name}")
            looks.append(_look(page))
            others.append(_look(another_file(page, chance)))
    count = len(names)
    pairs = near_duplicates([*looks, *others])
    same = {int(one) for one, other in pairs.tolist() if other - one == count}
    alike = sorted(
        {tuple(sorted((one % count, other % count))) for one, other in pairs.tolist() if other - one != count}
    )
    apart = [_bits_apart(one, other) for one, other in zip(looks, others, strict=True)]
    print(f"{count} pages; other files found: {len(same)}; different pages taken for one: {len(alike)} pairs")
    print(f"bits between a page and its other file: 99 % up to {np.percentile(apart, 99):.0f}, at most {max(apart)}")
    for one, other in alike:
        print(f"  {names[one]} {names[other]}")


def another_file(page: U8, chance: random.Random) -> U8:
    """The page (H, W, 3) at 0.6 to 1 of its size, with other contrast and light, as a JPEG of quality 40 to 90."""
    scale = chance.uniform(0.6, 1.0)
    small = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.float32)
    changed = np.clip(small * chance.uniform(0.96, 1.03) + chance.uniform(-4, 4), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(changed).save(out, "JPEG", quality=chance.randint(40, 90))
    return np.asarray(Image.open(out))


def _look(page: U8) -> Look:
    return look_of(gray_of_equal_lightness(page), page)


def _bits_apart(one: Look, other: Look) -> int:
    return (int.from_bytes(one.hash, "big") ^ int.from_bytes(other.hash, "big")).bit_count()


if __name__ == "__main__":
    main()
