"""Several pictures in one file that are no animation: which is the page, and when there is more than one."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.errors import PageUnreadableError
from datasets.page import decode, frames
from datasets.tiff import page_of, pictures_of
from tests.pictures import mpo, saved, tiff_of, tiff_pages

PAGE = np.random.default_rng(1).integers(0, 256, (300, 200), np.uint8)
COPY = np.asarray(Image.fromarray(PAGE).resize((100, 150)))
THUMB = np.asarray(Image.fromarray(PAGE).resize((40, 60)))
SQUARE = THUMB[:40]
OTHER = 255 - PAGE
COVER = PAGE[:280, :190]


@pytest.mark.parametrize("others", [(THUMB,), (OTHER,), (PAGE, OTHER), (THUMB, OTHER)], ids=len)
def test_the_first_picture_of_an_mpo_is_the_page(others: tuple[np.ndarray, ...]) -> None:
    data = mpo(PAGE, *others)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert frames(data) == 1
    assert (decode(data) == decode(saved(Image.fromarray(PAGE).convert("RGB"), "JPEG"))).all()
    assert decode(data, hint=40).shape == (75, 50, 3)


@pytest.mark.parametrize(
    ("pages", "marks", "wanted"),
    [
        ((PAGE,), (), 0),
        ((PAGE, THUMB), (), 0),
        ((PAGE, COPY), (), 0),
        ((PAGE, SQUARE), (), 0),
        ((PAGE, THUMB, COPY), (), 0),
        ((THUMB, PAGE), (), 1),
        ((PAGE, OTHER), (0, 1), 0),
        ((OTHER, PAGE), (1, 0), 1),
        ((PAGE, OTHER), (0, 4), 0),
        ((PAGE, COPY, THUMB), (2, 1, 1), 0),
    ],
    ids=range(10),
)
def test_a_tiff_with_smaller_copies_is_one_page(
    pages: tuple[np.ndarray, ...], marks: tuple[int, ...], wanted: int
) -> None:
    data = tiff_pages(pages, marks)
    assert frames(data) == 1
    assert page_of(data) == wanted
    assert (decode(data) == pages[wanted][..., None]).all()


@pytest.mark.parametrize(
    ("pages", "marks"),
    [
        ((PAGE, OTHER), ()),
        ((PAGE, PAGE), (2, 2)),
        ((COVER, PAGE, OTHER), ()),
        ((PAGE, OTHER, THUMB), ()),
        ((PAGE, np.hstack([PAGE, OTHER])), ()),
        ((np.tile(PAGE, (3, 3)), np.tile(PAGE, (1, 2))), ()),  # a small cover is no copy: it has another shape
    ],
    ids=range(6),
)
def test_a_tiff_of_several_pages_is_flagged(pages: tuple[np.ndarray, ...], marks: tuple[int, ...]) -> None:
    with pytest.raises(PageUnreadableError, match="save each as a file of its own") as caught:
        decode(tiff_pages(pages, marks))
    assert caught.value.code == "SEVERAL"


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg", "tiff_deflate"])
def test_tiffs_of_pillow(compression: str | None) -> None:
    options = {"save_all": True, "compression": compression}
    page, thumb = Image.fromarray(PAGE), Image.fromarray(THUMB)
    assert decode(saved(page, "TIFF", append_images=[thumb], **options)).shape == (300, 200, 3)
    with pytest.raises(PageUnreadableError, match="SEVERAL: a TIFF of 3 pages"):
        decode(saved(page, "TIFF", append_images=[page, page], **options))


@pytest.mark.filterwarnings("ignore")
def test_a_directory_that_can_not_be_read_ends_the_file() -> None:
    data = tiff_of(PAGE)
    at = data.index(PAGE.tobytes()) - 4  # where the next directory would be named
    for nowhere in (b"\xff\xff\xff\x7f", b"\x08\0\0\0", b"\x01\0\0\0"):
        odd = data[:at] + nowhere + data[at + 4 :]
        assert len(pictures_of(odd)) == 1
        assert (decode(odd) == PAGE[..., None]).all()


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(4, 90), st.integers(4, 90), st.sampled_from([0, 1, 2, 4])), min_size=1, max_size=5)
)
def test_the_page_is_the_largest_or_there_are_several(sizes: list[tuple[int, int, int]]) -> None:
    pages = [np.zeros((height, width), np.uint8) for height, width, _ in sizes]
    data = tiff_pages(pages, [mark for *_, mark in sizes])
    assert [(p.height, p.width) for p in pictures_of(data)] == [page.shape for page in pages]
    try:
        number = page_of(data)
    except PageUnreadableError:
        assert len(pages) > 1
        return
    unmarked = [page.size for page, (*_, mark) in zip(pages, sizes, strict=True) if not mark & 5]
    assert pages[number].size == max(unmarked or [page.size for page in pages])


def test_a_tiff_of_samples_that_are_not_read_is_said_to_be_one() -> None:
    data = tiff_of(np.zeros((4, 4), np.uint32), samples=1, order=">")
    with pytest.raises(PageUnreadableError, match="TIFF of a kind") as caught:
        decode(data)
    assert caught.value.code == "UNSUPPORTED"


def test_an_animation_stays_one() -> None:
    for image_format in ("GIF", "PNG", "WEBP"):
        data = saved(Image.fromarray(PAGE), image_format, save_all=True, append_images=[Image.fromarray(OTHER)])
        assert frames(data) == 2
