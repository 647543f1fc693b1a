"""The memory that a strip takes in a sandbox: so many bytes a pixel, however long it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from datasets.page import encode
from datasets.synthetic import Series, draw_page

ROOT = Path(__file__).resolve().parents[3]
WIDTH, HEIGHT = 800, 2400
MOST = 20  # bytes a pixel: gray, text, the coloured page, a copy of it in the encoder, and what is made on the way
CHILD = """
import sys
from pathlib import Path
import cv2, numpy as np
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.page_settings import PageSettings

cv2.setNumThreads(1)
data = Path(sys.argv[1]).read_bytes()
seen = page_steps.see(data, 256, "auto", 10**9)
small = np.random.default_rng(0).uniform(-25, 25, (6, 6, 2)).astype(np.float32)
chroma = cv2.resize(small, (256, 256 * len(seen.grays)), interpolation=cv2.INTER_CUBIC).astype(np.float16)
page_steps.color_over(data, chroma, None, (), PageSettings(), 10**9)
status = Path("/proc/self/status").read_text()  # of this process alone: ru_maxrss begins at its parent's size
print(status.split("VmHWM:")[1].split()[0])
"""


def peak(strip: np.ndarray, file: Path) -> int:
    """Bytes that a process held at the most that examined this strip and coloured it."""
    file.write_bytes(encode(np.repeat(strip[..., None], 3, axis=2), "jpeg"))
    done = subprocess.run([sys.executable, "-c", CHILD, file], cwd=ROOT, capture_output=True, text=True, check=True)
    return 1024 * int(done.stdout)


def test_a_longer_strip_takes_so_many_bytes_for_each_pixel_more(tmp_path: Path) -> None:
    series = Series(seed=3, width=WIDTH, height=HEIGHT // 2)
    strip = np.concatenate([draw_page(series, 1, page).ink for page in (2, 3)])
    assert strip.shape == (HEIGHT, WIDTH)

    short, long = (peak(np.tile(strip, (times, 1)), tmp_path / f"{times}.jpg") for times in (1, 4))

    assert 4 < (long - short) / (3 * strip.size) < MOST
