"""What ingest reads from chapters, and what it reports of those that it can't read."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from datasets.errors import BadUsageError
from datasets.page import Page
from imaging.color import gray_of_equal_lightness, lightness_of_level, to_lab
from jobs.ingest import cli
from jobs.parts.dataset.written import Written
from jobs.parts.ingest.config import IngestConfig
from jobs.parts.ingest.reading import read_chapter
from jobs.parts.ingest.shards import plan


def picture(seed: int, size: tuple[int, int] = (40, 60), mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    out = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(out, "PNG")
    return out.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


def rows(color: Path | None, gray: Path | None, gray_from: str = "lightness") -> tuple[list[Page], Written]:
    written = Written()
    uris = {"color": str(color) if color else None, "gray": str(gray) if gray else None}
    plans = plan(IngestConfig(**uris, out="out", gray_from=gray_from, holdout="0"))  # type: ignore[arg-type]
    return [page for chapter in plans for page in read_chapter(chapter, written)], written


def test_a_row_keeps_the_bytes_as_they_came_and_says_where_from(tmp_path: Path) -> None:
    members = {"002.png": picture(2), "010.png": picture(10), "001.png": picture(1, (50, 30))}
    archive(tmp_path / "in/A series/ch7.cbz", members)
    (first, second, third), written = rows(tmp_path / "in", None)
    assert [page.name for page in (first, second, third)] == ["001.png", "002.png", "010.png"]
    assert (first.series, first.chapter, first.index, first.split) == ("A series", "A series/ch7", 0, "train")
    assert (first.width, first.height) == (50, 30)
    assert first.color == members["001.png"]
    assert first.gray is None
    assert first.source == f"{tmp_path}/in/A series/ch7.cbz/001.png"
    assert written.failures == []


@pytest.mark.parametrize("gray_from", ["lightness", "luma"])
def test_with_only_colour_the_gray_page_is_derived(tmp_path: Path, gray_from: str) -> None:
    archive(tmp_path / "in/ch1.cbz", {"1.png": picture(3)})
    ((page,), _) = rows(tmp_path / "in", None, gray_from)
    color = np.asarray(Image.open(io.BytesIO(page.color or b"")))
    gray = page.decode_gray()
    if gray_from == "luma":
        by_pillow = np.asarray(Image.fromarray(color).convert("L")).astype(int)
        assert np.abs(gray.astype(int) - by_pillow).max() <= 1
    else:
        assert np.abs(lightness_of_level()[gray] - to_lab(color)[..., 0]).max() < 0.5


@pytest.mark.parametrize("gray_from", ["screentone", "mix"])
def test_gray_pages_drawn_as_manga_are_a_matter_of_the_row(tmp_path: Path, gray_from: str) -> None:
    archive(tmp_path / "color/ch1.cbz", {f"{i}.png": picture(i, (120, 170)) for i in range(12)})
    archive(tmp_path / "gray/ch1.cbz", {"0.png": picture(0, (120, 170), "L")})
    (first, *pages), _ = rows(tmp_path / "color", tmp_path / "gray", gray_from)
    assert first.gray_from == "source"
    assert {page.gray_from for page in pages} == {gray_from}
    assert {page.gray for page in pages} == {None}
    forms = {page.form() for page in pages}
    assert forms == ({"screentone"} if gray_from == "screentone" else {"screentone", "lightness"})
    again, _ = rows(tmp_path / "color", tmp_path / "gray", gray_from)
    for page, other in zip(pages, again[1:], strict=True):
        drawn = page.decode_gray()
        assert (drawn == other.decode_gray()).all()
        color = page.decode_color()
        assert color is not None
        assert (drawn == gray_of_equal_lightness(color)).all() == (page.form() == "lightness")


def test_the_option_of_the_gray_page() -> None:
    assert IngestConfig(color="in", out="out", gray_from="mix").gray_from == "mix"
    told = CliRunner().invoke(cli, ["--color", "in", "--out", "out", "--gray-from", "halftone"])
    assert told.exit_code == 2
    for choice in ("lightness", "luma", "screentone", "mix"):
        assert choice in told.output


def test_editions_are_paired_and_the_unpaired_stay(tmp_path: Path) -> None:
    archive(tmp_path / "color/ch1.cbz", {"1.png": picture(1), "2.png": picture(2)})
    archive(tmp_path / "gray/ch1.cbz", {"2.jpg.png": picture(9), "1.png": picture(1, mode="L")})
    archive(tmp_path / "gray/ch2.cbz", {"1.png": picture(5, mode="L")})
    pages, written = rows(tmp_path / "color", tmp_path / "gray")
    kinds = [(page.chapter, page.name, page.gray is not None, page.color is not None) for page in pages]
    assert kinds == [
        ("ch1", "1.png", True, True),
        ("ch1", "2.png", False, True),
        ("ch1", "2.jpg.png", True, False),
        ("ch2", "1.png", True, False),
    ]
    assert written.paired == 1
    assert [page.gray_from for page in pages] == ["source", "lightness", "source", "source"]


def test_what_can_not_be_read_is_told_with_path_and_reason(tmp_path: Path) -> None:
    whole = picture(1, (400, 600))
    archive(tmp_path / "in/ch1.cbz", {"1.png": whole, "2.png": whole[: len(whole) // 2], "3.png": b"<html>"})
    (tmp_path / "in/ch2.cbz").write_bytes(b"no archive")
    (tmp_path / "in/ch3").mkdir()
    (tmp_path / "in/ch3/1.png").write_bytes(whole)
    pages, written = rows(tmp_path / "in", None)
    assert [(page.chapter, page.index) for page in pages] == [("ch1", 0), ("ch3", 0)]
    told = {failure["source"]: failure["code"] for failure in written.failures}
    assert told == {
        f"{tmp_path}/in/ch1.cbz/2.png": "TRUNCATED",
        f"{tmp_path}/in/ch1.cbz/3.png": "NOT_IMAGE",
        f"{tmp_path}/in/ch2.cbz": "BROKEN",
    }


def test_a_broken_edition_leaves_the_other(tmp_path: Path) -> None:
    archive(tmp_path / "color/ch1.cbz", {"1.png": b"broken"})
    archive(tmp_path / "gray/ch1.cbz", {"1.png": picture(1, mode="L")})
    ((page,), written) = rows(tmp_path / "color", tmp_path / "gray")
    assert page.color is None
    assert page.gray is not None
    assert [failure["code"] for failure in written.failures] == ["NOT_IMAGE"]


def test_the_mean_chroma_is_that_of_the_training_pages(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (30, 30), (200, 90, 40)).save(out, "PNG")
    archive(tmp_path / "in/ch1.cbz", {"1.png": out.getvalue()})
    _, written = rows(tmp_path / "in", None)
    a, b = to_lab(np.full((1, 1, 3), (200, 90, 40), np.uint8))[0, 0, 1:]
    assert written.colored == 1
    assert written.chroma == pytest.approx([float(a), float(b)], abs=0.01)


def test_nothing_there_is_bad_usage(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/readme.txt").write_text("no chapter")
    with pytest.raises(BadUsageError, match="no chapter in"):
        rows(tmp_path / "in", None)
