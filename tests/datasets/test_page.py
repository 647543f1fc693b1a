"""Decoding anything that is called a page, and encoding what is published."""

import io
import resource
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from datasets.errors import PageUnreadableError
from datasets.page import Page, decode, decode_plain, encode, gray_of
from imaging.color import gray_of_equal_lightness
from imaging.screentone import to_screentone

RED, GREEN, BLUE, SAND = (255, 0, 0), (0, 128, 0), (0, 0, 255), (230, 200, 160)


def quarters() -> np.ndarray:
    """Return (32, 48, 3): four flat colours, which even a palette keeps."""
    rgb = np.empty((32, 48, 3), np.uint8)
    rgb[:16, :24], rgb[:16, 24:], rgb[16:, :24], rgb[16:, 24:] = RED, GREEN, BLUE, SAND
    return rgb


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims this size, and holds next to no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(9))[:6])]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def exchanged_profile() -> bytes:
    """Return an ICC profile (v2, matrix and gamma 2.2) of a display with sRGB's red and green lamps exchanged."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    name = b"exchanged\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.3851, 0.7169, 0.0971),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.4361, 0.2225, 0.0139),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1431, 0.0606, 0.7141),
        **{tag: b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) for tag in (b"rTRC", b"gTRC", b"bTRC")},
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        table += tag + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I", 128 + len(table) + len(body)) + bytes(4) + b"\x02\x10\0\0mntrRGB XYZ " + bytes(12)
    header += b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
    ],
)
def test_every_format_comes_back_as_srgb(image_format: str, options: dict[str, Any], tolerance: int) -> None:
    got = decode(saved(Image.fromarray(quarters()), image_format, **options))
    assert got.dtype == np.uint8
    assert got.shape == (32, 48, 3)
    assert np.abs(got.astype(int) - quarters()).max() <= tolerance


def test_gray_palette_and_bitmap() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gray = decode(saved(Image.fromarray(ramp), "PNG"))
    assert (gray == ramp[..., None]).all()

    palette = Image.fromarray(quarters()).quantize(8)
    assert (decode(saved(palette, "PNG")) == quarters()).all()

    bits = Image.fromarray((ramp > 99).astype(np.uint8) * 255).convert("1")
    for image_format in ("PNG", "TIFF"):
        assert (decode(saved(bits, image_format)) == np.where(ramp > 99, 255, 0)[..., None]).all()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(image_format: str) -> None:
    wide = np.array([[0, 257, 25700, 32768, 51400, 65535]], np.uint16)
    assert decode(saved(Image.fromarray(wide), image_format))[0, :, 1].tolist() == [0, 1, 100, 128, 200, 255]


def test_alpha_is_laid_over_white() -> None:
    rgba = Image.new("RGBA", (3, 1))
    rgba.putdata([(255, 0, 0, 255), (255, 0, 0, 128), (0, 0, 0, 0)])
    assert decode(saved(rgba, "PNG"))[0].tolist() == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]

    gray = Image.new("LA", (2, 1))
    gray.putdata([(0, 255), (0, 0)])
    assert decode(saved(gray, "PNG"))[0].tolist() == [[0, 0, 0], [255, 255, 255]]

    holed = Image.fromarray(quarters()).quantize(8)
    blue = int(np.asarray(holed)[31, 0])
    got = decode(saved(holed, "PNG", transparency=blue))
    assert got[31, 0].tolist() == [255, 255, 255]
    assert got[0, 0].tolist() == list(RED)


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk(image_format: str) -> None:
    got = decode(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), image_format))
    assert np.abs(got.astype(int) - RED).max() <= 4


def test_exif_rotation_is_applied() -> None:
    lying = np.full((20, 40, 3), 255, np.uint8)
    lying[:, :20] = RED
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the picture is shown a quarter turn clockwise
    got = decode(saved(Image.fromarray(lying), "PNG", exif=exif))
    assert got.shape == (40, 20, 3)
    assert (got[:20] == RED).all()
    assert (got[20:] == 255).all()


@pytest.mark.parametrize(
    "mode",
    [
        "RGB",
        "RGBA",
        "P",
    ],
)
def test_profile_is_converted_to_srgb(mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    got = decode(saved(image, "PNG", icc_profile=exchanged_profile()))
    assert np.abs(got[0, 0].astype(int) - (0, 255, 0)).max() <= 3  # its red lamp is green


def test_profile_that_does_not_fit_is_ignored() -> None:
    for profile in (b"no profile", exchanged_profile()[:200]):
        assert (decode(saved(Image.fromarray(quarters()), "PNG", icc_profile=profile)) == quarters()).all()
    assert decode(saved(Image.new("L", (4, 4), 90), "PNG", icc_profile=exchanged_profile()))[0, 0].tolist() == [90] * 3


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (saved(Image.fromarray(noise(64, 64)), "JPEG", quality=90)[:2000], "TRUNCATED"),
        (saved(Image.fromarray(noise(64, 64)), "PNG")[:2000], "TRUNCATED"),
        (saved(Image.fromarray(noise(64, 64)), "TIFF")[:2000], "TRUNCATED"),
        (b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", "NOT_IMAGE"),
        (b"", "NOT_IMAGE"),
        (png_header(60_000, 60_000), "PIXELS"),
        (png_header(20_000, 10_001), "PIXELS"),
    ],
    ids=["jpeg", "png", "tiff", "html", "nothing", "60,000 x 60,000", "over 200 million"],
)
def test_what_is_no_whole_picture(data: bytes, code: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PageUnreadableError) as caught:
        decode(data)
    assert caught.value.code == code
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes: nothing was allocated


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pixels_up_to_the_limit_are_taken() -> None:
    with pytest.raises(PageUnreadableError) as caught:
        decode(png_header(13_000, 13_000))  # 169 million; this one has no pixels to decode
    assert caught.value.code == "TRUNCATED"


@settings(max_examples=60)
@given(st.integers(1, 260), st.integers(1, 260), st.integers(1, 300))
@example(160, 100, 50)
@example(94, 94, 48)
def test_hint_keeps_the_shorter_side(width: int, height: int, hint: int) -> None:
    data = saved(Image.fromarray(noise(height, width)), "JPEG")
    got = decode(data, hint)
    assert min(got.shape[:2]) >= min(hint, width, height)
    assert got.shape[0] <= height


def test_hint_saves_work() -> None:
    assert decode(saved(Image.fromarray(noise(400, 800)), "JPEG"), 50).shape == (50, 100, 3)
    assert decode(saved(Image.fromarray(noise(400, 80)), "PNG"), 8).shape == (400, 80, 3)


def test_damaged_avif() -> None:
    data = saved(Image.fromarray(noise(64, 64)), "AVIF")
    with pytest.raises(PageUnreadableError, match="TRUNCATED"):
        decode(data[: data.index(b"mdat") + 4].ljust(len(data), b"\0"))


def test_encode() -> None:
    rgb = noise(40, 56)
    assert (decode(encode(rgb, "png")) == rgb).all()

    jpeg = Image.open(io.BytesIO(encode(rgb, "jpeg")))
    assert isinstance(jpeg, JpegImagePlugin.JpegImageFile)
    assert JpegImagePlugin.get_sampling(jpeg) == 0  # 4:4:4

    webp = encode(quarters(), "webp")
    assert Image.open(io.BytesIO(webp)).format == "WEBP"
    assert np.abs(decode(webp).astype(int) - quarters()).mean() < 6


RAMP = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(8, 32))


@pytest.mark.parametrize(
    ("picture", "image_format"),
    [
        (RAMP, "PNG"),
        (RAMP, "JPEG"),
        (RAMP.convert("1"), "PNG"),
        (RAMP.convert("LA"), "PNG"),
        (RAMP.convert("RGB"), "PNG"),
        (RAMP.convert("P"), "GIF"),
    ],
)
def test_a_picture_without_colour_comes_as_levels(picture: Image.Image, image_format: str) -> None:
    data = saved(picture, image_format)

    levels = decode_plain(data)

    assert levels.shape == (8, 32)
    np.testing.assert_array_equal(decode(data), np.repeat(levels[..., None], 3, axis=2))
    assert gray_of(levels) is levels


@pytest.mark.parametrize("profile", [None, exchanged_profile()])
def test_a_picture_with_colour_comes_as_it_is_decoded(profile: bytes | None) -> None:
    data = saved(Image.fromarray(quarters()), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(decode_plain(data), decode(data))
    assert decode_plain(data).ndim == 3


def page_of(gray: bytes | None, color: bytes | None, gray_from: str) -> Page:
    return Page("s", "c", 0, "1.png", gray, color, gray_from, 8, 8, "train", "s/c/1.png")


def test_decode_gray() -> None:
    red = saved(Image.new("RGB", (8, 8), RED), "PNG")
    drawn = np.arange(64, dtype=np.uint8).reshape(8, 8)
    own = page_of(saved(Image.fromarray(drawn), "PNG"), red, "source")
    assert (own.decode_gray() == drawn).all()
    assert (page_of(None, red, "luma").decode_gray() == 76).all()  # 0.299 x 255
    assert (page_of(None, red, "lightness").decode_gray() == 127).all()  # L* 53.24, as sRGB red has
    color = own.decode_color()
    assert color is not None
    assert color[0, 0].tolist() == list(RED)
    assert page_of(red, None, "source").decode_color() is None
    assert page_of(red, red, "source").size() == 2 * len(red)


def test_decode_gray_of_a_tinted_scan_keeps_lightness() -> None:
    tinted = saved(Image.new("RGB", (8, 8), RED), "PNG")
    assert (page_of(tinted, None, "source").decode_gray() == 127).all()


def _seeds() -> list[bytes]:
    image, exif = Image.fromarray(quarters()), Image.Exif()
    exif[0x0112] = 8
    exif[0x010F] = "a camera"
    return [
        saved(image, "JPEG", exif=exif, icc_profile=exchanged_profile()),
        saved(image.convert("CMYK"), "JPEG"),
        saved(image, "JPEG", progressive=True),
        saved(image, "PNG", exif=exif, icc_profile=exchanged_profile()),
        saved(image.quantize(8), "PNG", transparency=1),
        saved(image, "GIF"),
        saved(image, "WEBP", exif=exif),
        saved(image, "TIFF", exif=exif),
        saved(image.convert("1"), "TIFF", compression="group4"),
        saved(image, "TIFF", compression="tiff_lzw"),
        saved(image, "BMP"),
        saved(image, "AVIF", quality=20),
    ]


SEEDS = _seeds()


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """Draw a real picture, maybe cut, with some bytes changed, mostly near its start, where the headers are."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    place = st.one_of(st.integers(0, min(400, len(data) - 1)), st.integers(0, len(data) - 1))
    for where, value in draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)):
        data[where] = value
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=300), mutated(), mutated(), mutated()), st.sampled_from([None, None, 1, 16]))
def test_any_bytes_are_a_picture_or_an_error_of_ours(data: bytes, hint: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:  # a header changed to 10,000 x 10,000 need not be tried
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)
        with suppress(PageUnreadableError):
            got = decode(data, hint, pixels=1_000_000)
            assert got.dtype == np.uint8
            assert got.ndim == 3
            assert got.shape[2] == 3


def test_a_page_over_the_limit_given_is_refused() -> None:
    page = saved(Image.new("L", (16, 10)), "PNG")
    assert decode(page, pixels=160).shape == (10, 16, 3)
    with pytest.raises(PageUnreadableError, match="16 x 10 pixels; see --max-pixels") as caught:
        decode(page, pixels=159)
    assert caught.value.code == "PIXELS"


def painted(width: int = 160, height: int = 224) -> np.ndarray:
    """Return a page of soft colours, (H, W, 3)."""
    small = Image.fromarray(np.random.default_rng(5).integers(40, 256, (7, 5, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def numbered(index: int, color: np.ndarray, gray_from: str, image_format: str = "PNG") -> Page:
    height, width = color.shape[:2]
    data = saved(Image.fromarray(color), image_format)
    return Page("s", "c", index, f"{index}.png", None, data, gray_from, width, height, "train", "anywhere")


def test_ink_drawn_as_manga_is_the_same_for_a_page_and_a_number() -> None:
    color = painted()
    page = numbered(3, color, "screentone")
    first = page.decode_gray()
    assert first.shape == color.shape[:2]
    assert (page.decode_gray(color) == first).all()
    assert (page.decode_gray(draw=0) == first).all()
    assert (replace(page, source="elsewhere").decode_gray() == first).all()
    others = [page.decode_gray(draw=1), numbered(4, color, "screentone").decode_gray()]
    others.append(replace(page, chapter="d").decode_gray())
    for other in others:
        assert np.abs(first.astype(int) - other).mean() > 3


def test_the_drawing_is_of_imaging() -> None:
    color = painted()
    page = numbered(0, color, "screentone")
    seeds: list[int] = []

    def spy(rgb: np.ndarray, seed: int) -> np.ndarray:
        seeds.append(seed)
        return to_screentone(rgb, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.page.to_screentone", spy)
        drawn = page.decode_gray(color)
    assert (drawn == to_screentone(color, seeds[0])).all()


def test_a_mix_is_half_and_half_and_changes_with_the_drawing() -> None:
    color = painted(64, 64)
    pages = [numbered(index, color, "mix") for index in range(200)]
    forms = [page.form() for page in pages]
    assert set(forms) == {"screentone", "lightness"}
    assert 70 <= forms.count("screentone") <= 130
    assert [page.form() for page in pages] == forms
    assert 60 <= sum(page.form(1) != form for page, form in zip(pages, forms, strict=True)) <= 140
    plain = next(page for page in pages if page.form() == "lightness")
    drawn = next(page for page in pages if page.form() == "screentone")
    assert (plain.decode_gray() == gray_of_equal_lightness(color)).all()
    assert (drawn.decode_gray() != gray_of_equal_lightness(color)).any()


def test_screens_are_drawn_and_smoothed_on_pages_of_full_size() -> None:
    color = painted(1200, 1600)
    sizes = {}
    for gray_from in ("lightness", "screentone"):
        page = numbered(0, color, gray_from, "JPEG")
        sizes[gray_from] = page.decode_gray(hint=page.hint(286)).shape
    assert sizes == {"lightness": (400, 300), "screentone": (1600, 1200)}
    own = page_of(saved(Image.fromarray(color).convert("L"), "JPEG"), None, "source")
    assert own.decode_gray(hint=own.hint(286)).shape == (1600, 1200)
    large = numbered(0, painted(4400, 4800), "screentone", "JPEG")
    assert large.decode_gray(hint=large.hint(286)).shape == (1200, 1100)


def masked(mask: bytes | None) -> Page:
    return Page("series", "ch1", 0, "1.png", None, None, "source", 40, 60, "train", "in", mask)


def test_no_mask_leaves_nothing_out() -> None:
    assert masked(None).decode_mask((60, 40)) is None


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_mask_comes_back_as_it_was_drawn(mode: str) -> None:
    drawn = np.zeros((60, 40), np.uint8)
    drawn[3:17, 5:9] = 255
    mask = masked(saved(Image.fromarray(drawn).convert(mode), "PNG")).decode_mask((60, 40))
    assert mask is not None
    assert (mask == (drawn > 0)).all()


@settings(max_examples=50)
@given(y=st.integers(0, 999), x=st.integers(0, 699), side=st.integers(8, 64))
def test_a_square_leaves_out_whatever_holds_a_masked_pixel(y: int, x: int, side: int) -> None:
    drawn = np.zeros((1000, 700), np.uint8)
    drawn[y, x] = 255
    mask = masked(saved(Image.fromarray(drawn), "PNG")).decode_mask((side, side))
    assert mask is not None
    assert mask[y * side // 1000, x * side // 700]
    assert mask.sum() <= 4
