"""All pictures of a training in one file of at most 60 MB.

python -m pretraining.pack --series DATA/series --licences DATA/licenses/storybooks.md --out PACKS

writes PACKS/train.safetensors and PACKS/dev.safetensors: scenes of at most 448 pixels and pages of at most 640, WebP of
quality 70; what judges is kept at its full size, quality 95. (JPEG of quality 90 without subsampling would take 138 MB
for the storybooks alone.)
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import click
import cv2
import numpy as np
import safetensors
import torch
from safetensors.torch import save_file

from imaging.color import U8
from imaging.scaling import at_most
from pretraining.generated import draw_series
from pretraining.sources import EDITIONS, STORYBOOKS, TURNS, Picture, Split, find_pictures, read_artists, split_of

SCENE, PAGE = 448, 640  # pixels of the longer side
QUALITY, DEV_QUALITY = 70, 95
MOST_BYTES = 60 * 10**6
GENERATED = "generated"


class Pack:
    """A pack of pictures, read into memory; pictures are decoded when asked for.

    pictures: what they are, in the order of the pack.
    """

    def __init__(self, path: Path) -> None:
        with safetensors.safe_open(path, framework="pt") as file:
            self.pictures = tuple(Picture(**row) for row in json.loads(file.metadata()["pictures"]))
            self._bytes: U8 = file.get_tensor("bytes").numpy()
            self._ends: list[int] = file.get_tensor("ends").tolist()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> U8:
        """Return (H, W, 3) sRGB."""
        begin = self._ends[number - 1] if number else 0
        bgr = cv2.imdecode(self._bytes[begin : self._ends[number]], cv2.IMREAD_COLOR)
        return np.ascontiguousarray(bgr[..., ::-1])


def write_pack(pictures: Iterable[tuple[Picture, U8]], path: Path, *, quality: int) -> int:
    """Write a pack of pictures (H, W, 3) and return its bytes; equal pictures give equal bytes."""
    rows, parts = [], []
    for picture, rgb in pictures:
        rows.append(asdict(picture))
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        parts.append(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].ravel())
    ends = torch.tensor(np.cumsum([len(part) for part in parts]))
    tensors = {"bytes": torch.from_numpy(np.concatenate(parts)), "ends": ends}
    save_file(tensors, path, metadata={"pictures": json.dumps(rows)})
    return path.stat().st_size


def gather(root: Path, artists: dict[str, str], split: Split) -> Iterator[tuple[Picture, U8]]:
    """Yield the pictures of a split; those of training made smaller, and never any other's.

    What a comparison may leave out of the training is in "dev" too, at its full size.
    """
    for picture, path in find_pictures(root, artists):
        in_turn = split == "dev" and picture.series in EDITIONS and picture.story in TURNS
        if in_turn or split_of(picture.series, picture.story) == split:
            rgb = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
            longest = max(rgb.shape) if split == "dev" else SCENE if picture.series == STORYBOOKS else PAGE
            yield picture, at_most(np.ascontiguousarray(rgb), longest)


@click.command(context_settings={"show_default": True})
@click.option("--series", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of the series.")
@click.option("--licences", required=True, type=click.Path(path_type=Path, exists=True), help="The storybooks' table.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the two packs.")
@click.option("--casts", default=14, help="Generated series in the training.")
@click.option("--seed", default=1, help="Of the generated series.")
def main(series: Path, licences: Path, out: Path, casts: int, seed: int) -> None:
    """Write the pack that teaches and the pack that judges."""
    out.mkdir(parents=True, exist_ok=True)
    artists = read_artists(licences.read_text())

    def teaching() -> Iterator[tuple[Picture, U8]]:
        yield from gather(series, artists, "train")
        for story, name, rgb in draw_series(casts, seed):
            yield Picture(GENERATED, story, name, GENERATED), rgb

    size = write_pack(teaching(), out / "train.safetensors", quality=QUALITY)
    click.echo(f"{out / 'train.safetensors'}: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        raise click.ClickException(f"the pack has {size} bytes; {MOST_BYTES} are allowed: take fewer --casts")
    size = write_pack(gather(series, artists, "dev"), out / "dev.safetensors", quality=DEV_QUALITY)
    click.echo(f"{out / 'dev.safetensors'}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
