"""What an earlier commit published, kept so that later ones can be asked to take it up.

    git worktree add ../earlier COMMIT && cd ../earlier
    PYTHONPATH=. python ../mangahue/tests/compatibility/make_fixtures.py ../mangahue/tests/compatibility/data

draws a small library and runs the jobs of the folder it is started in, whatever commit that has: it knows their command
lines alone. `made.json` says which commit made what is stored. Beside `data/`, which is all under one folder, `home`:

  library/    chapters to colour          reference/  coloured pages to follow
  shards/     of ingest.py                run/        of train.py, at step 4 of 4
  out/<name>/ of colorize.py, for each of COLORINGS

With `--coloured` after the folder only out/ is made anew, of the library and the model stored: for a commit that raises
the version of the pixels, which takes up no folder of an earlier version. `format_1/` beside `data/` keeps manifests of
the first format, which no commit writes any more.

What the tests need is kept, no more: no samples, no event files, no reports in HTML, no previews, and of a checkpoint
only what run/model/ has not (`lay_out` puts it back).
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

DATA = Path(__file__).resolve().parent / "data"
HOME = Path("/tmp/mangahue-fixtures")  # manifests hold it
CHANGED = 1_700_000_000  # seconds: when all files of the library were changed last; git keeps no such times
WEIGHTS = ("model.safetensors", "model.raw.safetensors")
COLORINGS = {  # name: source, options
    "followed": ("library", ("--reference", "reference", "--palette", "auto", "--keep-format")),
    "salvaged": ("library/ch03.cbz", ("--salvage", "--format", "png", "--strategy", "tiles")),
    "strict": ("library/ch02.cbz", ("--strict", "--lines", "off", "--bubbles", "colour")),
}
TRAINING = (
    *("--variant", "pix2pix", "--base-channels", "1", "--image-size", "32", "--batch-size", "1"),
    *("--eval-every", "2", "--keep-checkpoints", "1", "--device", "cpu"),
)
STEPS = 4
_LEFT_OUT = ("*.html", "previews", "samples", "tensorboard", ".validate_storage_marker")
_COMIC_INFO = b"<ComicInfo><Title>One</Title><Shelf>top</Shelf><BlackAndWhite>Yes</BlackAndWhite></ComicInfo>"


def colorize(home: Path, name: str) -> list[str]:
    """Options of the colouring that made home/out/<name>."""
    source, options = COLORINGS[name]
    rest = [str(home / word) if word == "reference" else word for word in options]
    return [
        "--model",
        str(home / "run/model"),
        "--source",
        str(home / source),
        "--out",
        str(home / "out" / name),
        *rest,
    ]


def train(home: Path, steps: int = STEPS) -> list[str]:
    """Options of the training in home/run; with more steps it goes on."""
    return ["--data", str(home / "shards"), "--run", str(home / "run"), *TRAINING, "--max-steps", str(steps)]


def lay_out(home: Path) -> None:
    """The stored files as the jobs left them, at `home`."""
    shutil.copytree(DATA, home)
    _set_times(home / "library")
    for checkpoint in (home / "run/checkpoints").glob("checkpoint_*/"):
        for name in WEIGHTS:
            shutil.copy(home / "run/model" / name, checkpoint)


def _set_times(folder: Path) -> None:
    for file in folder.rglob("*"):
        os.utime(file, (CHANGED, CHANGED))


def _page(number: int, mode: str = "L", size: tuple[int, int] = (96, 144)) -> Image.Image:
    """Two panels, a figure in each; of an RGB page the grounds and figures have colours."""
    page = Image.new(mode, size, "white")
    pen = ImageDraw.Draw(page)
    colors = ["#e8a060", "#3060c0", "#40a050", "#d03040", "#f0d050"]
    grays = ["#c8c8c8", "#606060", "#989898", "#a8a8a8", "#e0e0e0"]
    tones = colors if mode == "RGB" else grays
    for row, top in enumerate((6, size[1] // 2 + 3)):
        bottom = top + size[1] // 2 - 10
        pen.rectangle((6, top, size[0] - 7, bottom), tones[(number + 2 * row) % 5], "black", 2)
        x = 20 + 13 * ((number + row) % 4)
        pen.ellipse((x, top + 10, x + 24, top + 40), tones[(number + row + 1) % 5], "black", 2)
        pen.line((10, bottom - 8, size[0] - 12, bottom - 12 + 3 * number), "black", 2)
    return page


def _reference() -> Image.Image:
    """Flat colours on a grid that the network's square divides: it is the same to the bit on any processor."""
    page = Image.new("RGB", (96, 128), "white")
    pen = ImageDraw.Draw(page)
    for number, color in enumerate(("#e8a060", "#3060c0", "#40a050", "#d03040", "#f0d050", "#202028")):
        x, y = 48 * (number % 2), 40 * (number // 2)
        pen.rectangle((x, y, x + 47, y + 39), color)
    return page


def _saved(page: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    page.save(out, kind, optimize=True)
    return out.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def draw(home: Path) -> None:
    """The library, the reference, and the coloured chapters to train on."""
    pages = {f"{number + 1:03}.png": _saved(_page(number)) for number in range(3)}
    pdf = io.BytesIO()
    _page(5).save(pdf, "PDF", save_all=True, append_images=[_page(6)])
    whole = {"ComicInfo.xml": _COMIC_INFO, **pages, "../004.jpg": _saved(_page(3), "JPEG")}
    whole |= {"005.png": _saved(_page(4, "RGB")), "credits.txt": b"by hand"}
    files = {
        "library/ch01.cbz": _zipped(whole),
        "library/ch02.cbz": _zipped({**pages, "002.png": pages["002.png"][:90]}),  # partial: a damaged page
        "library/ch03.cbz": _zipped(pages)[:-60],  # quarantined: it is cut off
        "library/ch04/1.png": pages["002.png"],
        "library/ch04/2.jpg": _saved(_page(8), "JPEG"),
        "library/ch04/notes.txt": b"kept",
        "library/ch05.pdf": pdf.getvalue(),
        "library/ch01.cb7": b"not opened: its output would be that of ch01.cbz",
        "reference/cover.cbz": _zipped({"1.png": _saved(_reference())}),
    }
    for chapter, first in (("one", 0), ("two", 3), ("three", 6)):
        colored = {f"{number}.png": _saved(_page(first + number, "RGB")) for number in range(2)}
        files[f"colour/{chapter}.cbz"] = _zipped(colored)
    for name, data in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    _set_times(home / "library")


def _run(job: str, *arguments: str) -> int:
    environment = {**os.environ, "RAY_ADDRESS": "local", "PYTHONPATH": str(Path.cwd()), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, f"jobs/{job}.py", *arguments], env=environment).returncode


def main(data: Path) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    draw(HOME)
    exits = {
        "ingest": _run("ingest", "--color", str(HOME / "colour"), "--out", str(HOME / "shards"), "--holdout", "two")
    }
    exits["train"] = _run("train", *train(HOME))
    exits |= _colorized()
    shutil.rmtree(HOME / "colour")
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(HOME, data, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for checkpoint in (data / "run/checkpoints").glob("checkpoint_*/"):
        for name in WEIGHTS:
            if (checkpoint / name).read_bytes() != (data / "run/model" / name).read_bytes():
                raise RuntimeError(f"{name} of the model is not that of the last checkpoint")
            (checkpoint / name).unlink()
    _record(data, {"commit": _commit(), "exits": exits})


def color_again(data: Path) -> None:
    """Make data/out anew, of what is stored."""
    shutil.rmtree(HOME, ignore_errors=True)
    lay_out(HOME)
    shutil.rmtree(HOME / "out")
    made = json.loads((data / "made.json").read_text())
    exits = {**made["exits"], **_colorized()}
    shutil.rmtree(data / "out")
    shutil.copytree(HOME / "out", data / "out", ignore=shutil.ignore_patterns(*_LEFT_OUT))
    _record(data, {**made, "coloured": _commit(), "exits": exits})


def _colorized() -> dict[str, int]:
    return {name: _run("colorize", *colorize(HOME, name)) for name in COLORINGS}


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def _record(data: Path, made: dict[str, Any]) -> None:
    (data / "made.json").write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    (color_again if "--coloured" in sys.argv else main)(Path(sys.argv[1]))
