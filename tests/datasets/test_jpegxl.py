"""JPEG XL: read where it is plain, else flagged with what it is; cut and hostile files are flagged too."""

from contextlib import suppress
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets import jpegxl
from datasets.boxes import boxes
from datasets.errors import PageUnreadableError
from datasets.jpegxl import header_of
from datasets.page import decode, frames
from tests.datasets.test_page import exchanged_profile
from tests.pictures import gray_profile, ramp, saved

LEVELS = ramp()
OPAQUE = np.full_like(LEVELS, 255)
KINDS = {
    "gray": LEVELS,
    "gray and alpha": np.dstack([LEVELS, OPAQUE]),
    "RGB": np.dstack([LEVELS] * 3),
    "RGBA": np.dstack([LEVELS] * 3 + [OPAQUE]),
}


def jxl(levels: np.ndarray, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(levels, **{"lossless": True, **options}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"usecontainer": True}, {"lossless": False, "level": 95}], ids=str)
def test_every_plain_kind_is_read(kind: str, options: dict[str, Any]) -> None:
    got = decode(jxl(KINDS[kind], **options)).astype(int)
    error = np.abs(got - LEVELS[..., None])
    assert error.max() == 0 if options.get("lossless", True) else error.mean() < 3


def test_alpha_is_laid_over_white() -> None:
    clear = np.zeros_like(LEVELS)
    for kind in (np.dstack([LEVELS, clear]), np.dstack([LEVELS] * 3 + [clear])):
        assert (decode(jxl(kind)) == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_was_a_jpeg_is_that_jpeg_again(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = gray_profile(1.0) if mode == "L" else exchanged_profile()
    jpeg = saved(Image.fromarray(LEVELS).convert(mode), "JPEG", exif=exif, icc_profile=profile)
    packed = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg))
    assert packed.startswith(b"\0\0\0\x0cJXL ")
    assert (decode(packed) == decode(jpeg)).all()
    assert (decode(packed, hint=8) == decode(jpeg, hint=8)).all()


class Writer:
    """Writes the numbers of a header, the lowest bit first."""

    def __init__(self) -> None:
        self.number, self.count = 0, 0

    def put(self, *fields: tuple[int, int]) -> "Writer":
        for count, value in fields:
            self.number |= value << self.count
            self.count += count
        return self

    def data(self) -> bytes:
        return b"\xff\x0a" + self.number.to_bytes(self.count // 8 + 60, "little")


SQUARE = ((1, 1), (5, 3), (3, 1))  # small, 32 pixels high, as wide as high
PLAIN = ((1, 0), (1, 0), (1, 0), (2, 0), (1, 1))  # not all as usual, no more of it, 8 bits
ODD = {
    "in motion": ((1, 0), (1, 1), (3, 0), (1, 0), (1, 0), (1, 1)),
    "with a preview": ((1, 0), (1, 1), (3, 0), (1, 0), (1, 1)),
    "with channels other": (*PLAIN, (2, 1), (1, 0), (2, 2), (4, 2)),  # black, as in CMYK
    "in colours other than sRGB": (*PLAIN, (2, 0), (1, 0), (1, 0), (1, 1), (2, 1)),  # an ICC profile, gray
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_not_read_is_flagged(what: str) -> None:
    data = Writer().put(*SQUARE, *ODD[what]).data()
    assert (header_of(data).height, header_of(data).width) == (32, 32)
    with pytest.raises(PageUnreadableError, match=f"JPEG XL {what}.*, which is not read; save it as PNG") as caught:
        decode(data)
    assert caught.value.code == "UNSUPPORTED"


def test_motion_and_linear_light_are_flagged() -> None:
    assert header_of(jxl(np.stack([LEVELS, LEVELS]))).unread == "in motion"
    assert frames(jxl(np.stack([LEVELS, LEVELS]))) == 1  # flagged, not passed
    wide = jxl(LEVELS.astype(np.uint16) * 257)  # imagecodecs writes linear light
    assert header_of(wide).unread == "in colours other than sRGB"


def test_wide_samples_are_scaled() -> None:
    for levels, bits in ((LEVELS.astype(np.uint16) * 4, 10), (LEVELS.astype(np.float32) / 255, 32)):
        colour = np.dstack([levels] * 3)
        assert np.abs(jpegxl._in_8_bits(colour, bits).astype(int) - LEVELS[..., None]).max() <= 1
        assert jpegxl._in_8_bits(levels, bits) is levels


@settings(max_examples=60)
@given(st.integers(1, 600), st.integers(1, 600), st.sampled_from([1, 2, 3, 4]))
def test_the_size_of_any_picture(height: int, width: int, channels: int) -> None:
    header = header_of(
        jxl(np.zeros((height, width, channels), np.uint8).squeeze(-1 if channels == 1 else ()), effort=1)
    )
    assert (header.height, header.width, header.unread) == (height, width, "")


def test_a_page_over_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jxl(LEVELS)
    assert decode(data, pixels=LEVELS.size).shape == (32, 48, 3)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(PageUnreadableError, match="48 x 32 pixels; see --max-pixels") as caught:
        decode(data, pixels=LEVELS.size - 1)
    assert caught.value.code == "PIXELS"


@pytest.mark.parametrize("made", [jxl(LEVELS), jxl(LEVELS, usecontainer=True), jxl(KINDS["RGB"], lossless=False),
                                  bytes(imagecodecs.jpegxl_encode_jpeg(saved(LEVELS, "JPEG")))])  # fmt: skip
def test_what_is_cut_is_flagged(made: bytes) -> None:
    for share in (0.05, 0.3, 0.6, 0.9):
        with pytest.raises(PageUnreadableError) as caught:
            decode(made[: int(len(made) * share)])
        assert caught.value.code in ("TRUNCATED", "NOT_IMAGE")


@settings(max_examples=300)
@given(st.sampled_from([jxl(LEVELS), jxl(LEVELS, usecontainer=True), jxl(KINDS["RGBA"])]), st.data())
def test_any_bytes_are_a_picture_or_an_error_of_ours(made: bytes, data: st.DataObject) -> None:
    changed = bytearray(made)
    for where in data.draw(st.lists(st.integers(0, min(90, len(made) - 1)), max_size=4)):
        changed[where] = data.draw(st.integers(0, 255))
    with suppress(PageUnreadableError):
        assert decode(bytes(changed), pixels=1_000_000).shape[2] == 3


@given(st.binary(max_size=80))
def test_any_bytes_have_boxes(data: bytes) -> None:
    assert sum(8 + len(content) for _, content in boxes(data)) <= len(data) + 8
