"""Tones of pictures of every mode and range: what a viewer shows, or a code; never another page in silence."""

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.errors import PageUnreadableError
from datasets.page import decode
from tests.pictures import chunk, gray_profile, ramp, raw_png, saved, tiff_of

LEVELS = ramp()
LINEAR = gray_profile(1.0)
FULL = Image.fromarray(np.full_like(LEVELS, 255))


def srgb_of(light: np.ndarray) -> np.ndarray:
    """sRGB levels of linear light in [0, 1] (IEC 61966-2-1)."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def levels_of(data: bytes) -> np.ndarray:
    """The (H, W) levels of a picture that must be neutral."""
    page = decode(data)
    assert (page == page[..., :1]).all()
    return page[..., 0].astype(int)


def gray_in(mode: str) -> Image.Image:
    gray = Image.fromarray(LEVELS)
    if mode == "I;16":
        return Image.fromarray(LEVELS.astype(np.uint16) * 257)
    if mode == "P":
        palette = gray.convert("P")
        palette.putpalette([level for level in range(256) for _ in range(3)])
        return palette
    return Image.merge("LA", [gray, FULL]).convert(mode) if "A" in mode else gray.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_a_gray_profile_holds_in_every_mode(mode: str, image_format: str) -> None:
    shown = levels_of(saved(gray_in(mode), image_format, icc_profile=LINEAR))
    assert np.abs(shown - levels_of(saved(LEVELS, icc_profile=LINEAR))).max() <= 1  # of one tone, whatever the mode
    assert np.abs(shown - srgb_of(LEVELS / 255)).max() <= 8  # darks a little darker: perceptual intent
    assert np.abs(levels_of(saved(gray_in(mode), image_format)) - LEVELS.astype(int)).max() == 0


def test_a_gray_profile_in_a_jpeg() -> None:
    data = saved(np.full((16, 16), 64, np.uint8), "JPEG", icc_profile=LINEAR)
    assert np.abs(levels_of(data) - 137).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "RGB"])
def test_a_gray_profile_in_a_jpeg_2000(mode: str) -> None:
    data = saved(gray_in(mode), "JPEG2000")
    assert np.abs(levels_of(data) - LEVELS.astype(int)).max() <= 1
    enumerated = data[data.index(b"colr") - 4 :][:15]
    box = struct.pack(">I", 11 + len(LINEAR)) + b"colr\2\0\0" + LINEAR
    data = data.replace(enumerated, box)
    at = data.index(b"jp2h") - 4
    size = int.from_bytes(data[at : at + 4], "big") + len(box) - len(enumerated)
    data = data[:at] + struct.pack(">I", size) + data[at + 4 :]
    assert np.abs(levels_of(data) - levels_of(saved(LEVELS, icc_profile=LINEAR))).max() <= 2


def test_a_gray_profile_with_transparency() -> None:
    half = Image.merge("LA", [Image.fromarray(LEVELS), Image.new("L", (48, 32), 0)])
    assert (levels_of(saved(half, icc_profile=LINEAR)) == 255).all()
    keyed = saved(np.full((4, 4), 64, np.uint8), transparency=64, icc_profile=LINEAR)
    assert (levels_of(keyed) == 255).all()
    assert (levels_of(saved(np.full((4, 4), 64, np.uint8), transparency=65, icc_profile=LINEAR)) == 137).all()


def test_a_gray_profile_does_not_fit_a_page_in_colour() -> None:
    page = np.full((4, 4, 3), (200, 90, 30), np.uint8)
    assert (decode(saved(page, icc_profile=LINEAR)) == page).all()


def test_a_dark_page_of_16_bits_keeps_its_steps_under_a_profile() -> None:
    dark = np.arange(0, 1025, 64, dtype=np.uint16)[None]  # five levels in 8 bits
    got = levels_of(saved(dark, icc_profile=LINEAR))[0]
    assert np.abs(got - srgb_of(dark[0] / 65535)).max() <= 11
    assert len(set(got.tolist())) > 10


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_gray_png(bits: int) -> None:
    top = 2**bits - 1
    values = [0, 1, top, top // 3 or 1]
    row = struct.pack(">4H", *values) if bits == 16 else bytes(values)
    if bits < 8:
        row = sum(value << bits * (3 - i) for i, value in enumerate(values)).to_bytes(-(-bits * 4 // 8), "big")
        row = (int.from_bytes(row, "big") << (-bits * 4) % 8).to_bytes(len(row), "big")
    for key in sorted(set(values)):
        data = raw_png(0, bits, [row], 4, chunk(b"tRNS", struct.pack(">H", key)))
        wanted = [255 if value == key else round(value * 255 / top) for value in values]
        assert levels_of(data)[0].tolist() == wanted, key


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_a_png(bits: int) -> None:
    unit = 257 if bits == 16 else 1
    colours = [(10, 20, 30), (10, 20, 31), (0, 0, 0), (255, 0, 0)]
    flat = [value * unit for colour in colours for value in colour]
    row = struct.pack(">12H", *flat) if bits == 16 else bytes(flat)
    key = struct.pack(">3H", *(value * unit for value in colours[0]))
    got = decode(raw_png(2, bits, [row], 4, chunk(b"tRNS", key)))[0].tolist()
    assert got == [[255] * 3, *map(list, colours[1:])]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_a_palette_with_degrees_of_transparency() -> None:
    palette = chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0])) + chunk(b"tRNS", bytes([0, 127]))
    assert decode(raw_png(3, 8, [bytes([0, 1])], 2, palette))[0].tolist() == [[255, 255, 255], [255, 128, 128]]


WIDE = {
    "float, to 1": (LEVELS.astype(np.float32) / 255, 3),
    "float, to 255": (LEVELS.astype(np.float32), 3),
    "float, to 65,535": (LEVELS.astype(np.float32) * 257, 3),
    "float, resampled": ((LEVELS.astype(np.float32) / 255 - 0.5) * 1.04 + 0.5, 3),
    "32 bits": (LEVELS.astype(np.uint32) * 0x01010101, 1),
    "32 bits, to 65,535": (LEVELS.astype(np.uint32) * 257, 1),
    "32 bits, to 255": (LEVELS.astype(np.uint32), 1),
    "32 bits, signed": (LEVELS.astype(np.int32) * 8421504, 2),
    "16 bits, signed": (np.round(LEVELS / 255 * 32767).astype(np.int16), 2),
    "16 bits": (LEVELS.astype(np.uint16) * 257, 1),
    "8 bits": (LEVELS, 1),
}


@pytest.mark.parametrize("kind", WIDE)
def test_a_tiff_keeps_its_tones(kind: str) -> None:
    levels, samples = WIDE[kind]
    tolerance = 6 if "resampled" in kind else 1
    assert np.abs(levels_of(tiff_of(levels, samples=samples)) - LEVELS.astype(int)).max() <= tolerance


@pytest.mark.parametrize("kind", ["float, to 1", "16 bits", "8 bits"])
def test_a_tiff_whose_zero_is_white(kind: str) -> None:
    levels, samples = WIDE[kind]
    shown = levels_of(tiff_of(levels, samples=samples, photometric=0))
    assert np.abs(shown - (255 - LEVELS.astype(int))).max() <= 1


def test_a_tiff_of_12_bits() -> None:
    high, low = LEVELS.astype(np.uint16)[:, ::2] * 16, LEVELS.astype(np.uint16)[:, 1::2] * 16
    packed = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], -1).astype(np.uint8)
    data = bytearray(tiff_of(LEVELS))  # the field of 8 bits is rewritten, and the strip
    at = data.index(struct.pack("<HHIH", 258, 3, 1, 8))
    data[at + 8] = 12
    strip = len(data) - LEVELS.size
    assert np.abs(levels_of(bytes(data[:strip]) + packed.tobytes()) - LEVELS.astype(int)).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), np.nan, np.float32),
        np.array([[0, 1, np.inf, 0.5]], np.float32),
        np.array([[-1, 0, 0.5, 1]], np.float32),
        np.array([[0, 700, 1023, 5]], np.float32),
        np.array([[0, 1.5, 3, 2]], np.float32),
        np.array([[0, 1e9, 3, 2]], np.float32),
        np.array([[0, 1, 2, 3]], np.uint32),
        np.array([[0, 100_000, 2, 3]], np.uint32),
        np.array([[-30_000, 5, 100, 30_000]], np.int16),
        np.array([[-2_000_000_000, 5, 100, 2_000_000_000]], np.int32),
    ],
    ids=str,
)
def test_numbers_that_are_no_tones_are_flagged(values: np.ndarray) -> None:
    samples = {"f": 3, "i": 2, "u": 1}[values.dtype.kind]
    with pytest.raises(PageUnreadableError, match="save it as 8-bit") as caught:
        decode(tiff_of(values, samples=samples))
    assert caught.value.code == "RANGE"


def test_a_black_page_of_any_range_is_black() -> None:
    for levels, samples in WIDE.values():
        assert levels_of(tiff_of(np.zeros_like(levels), samples=samples)).max() == 0


@settings(max_examples=60)
@given(
    st.sampled_from([np.float32, np.float64, np.uint32, np.int32, np.uint16, np.int16]),
    st.floats(-1e10, 1e10) | st.integers(-70_000, 70_000),
    st.floats(-1e10, 1e10) | st.integers(0, 300),
)
def test_any_numbers_are_tones_in_order_or_a_code(kind: type, low: float, high: float) -> None:
    least, most = sorted((low, high))
    if np.dtype(kind).kind != "f":
        bounds = np.iinfo(kind)
        least, most = (min(max(value, bounds.min), bounds.max) for value in (least, most))
    values = np.linspace(least, most, 16).astype(kind)[None]
    samples = {"f": 3, "i": 2, "u": 1}[values.dtype.kind]
    with suppress(PageUnreadableError):
        assert (np.diff(levels_of(tiff_of(values, samples=samples))[0]) >= 0).all()
