"""Whole pixels with odd metadata are a page, in every format; damaged pixels are not."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets.errors import PageUnreadableError
from datasets.metadata import versions
from datasets.page import decode, frames
from tests.datasets.test_page import BLUE, RED, exchanged_profile
from tests.pictures import chunk, gray_profile, ramp, saved, tiff, tiff_of, with_chunk

LEVELS = ramp()
PNG, JPEG, WEBP = saved(LEVELS), saved(LEVELS, "JPEG"), saved(LEVELS, "WEBP", lossless=True)
TEXT = zlib.compress(b"<x:xmpmeta/>" + b" " * 40_000_000)


def png(*chunks: bytes) -> bytes:
    return with_chunk(PNG, b"".join(chunks))


def behind(data: bytes, made: bytes) -> bytes:
    """Return the PNG with a chunk between its pixels and its end."""
    return data[:-12] + made + data[-12:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def webp(*chunks: tuple[bytes, bytes], flags: int = 0) -> bytes:
    """Return the WebP in its extended form (RFC 9649) with chunks behind its pixels."""
    size = struct.pack("<I", LEVELS.shape[1] - 1)[:3] + struct.pack("<I", LEVELS.shape[0] - 1)[:3]
    parts = [(b"VP8X", bytes([flags, 0, 0, 0]) + size), (WEBP[12:16], WEBP[20:]), *chunks]
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def field(tag: int, kind: int, count: int, value: int | bytes) -> tuple[int, int, int, bytes]:
    return tag, kind, count, value if isinstance(value, bytes) else struct.pack("<I", value)


ODD: dict[str, bytes] = {
    "png: a large text": png(chunk(b"zTXt", b"Raw profile type xmp\0\0" + TEXT)),
    "png: a text that unpacks to no end": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + TEXT)),
    "png: a text with a wrong checksum": png(chunk(b"tEXt", b"Software\0x", crc=1)),
    "png: one behind the pixels": behind(PNG, chunk(b"tEXt", b"Software\0x", crc=1)),
    "png: a large one behind the pixels": behind(PNG, chunk(b"zTXt", b"a\0\0" + TEXT)),
    "png: a profile that does not unpack": png(chunk(b"iCCP", b"icc\0\0" + b"no zlib")),
    "png: a profile of no known packing": png(chunk(b"iCCP", b"icc\0\7" + zlib.compress(b"x"))),
    "png: a short density": png(chunk(b"pHYs", b"\0\0")),
    "png: a short time and gamma": png(chunk(b"gAMA", b"\0"), chunk(b"tIME", b"\0"), chunk(b"cHRM", b"")),
    "png: a short transparency": png(chunk(b"tRNS", b"\0")),
    "png: a transparency with a wrong checksum": png(chunk(b"tRNS", b"\0\xff", crc=1)),
    "png: broken EXIF": png(chunk(b"eXIf", b"MM\0*\0\0\xff\xff")),
    "png: no end": PNG[:-12],
    "png: cut in a text behind the pixels": behind(PNG, chunk(b"tEXt", b"Comment\0" + b"x" * 90))[:-60],
    "jpeg: broken EXIF": jpeg(segment(0xE1, b"Exif\0\0" + b"no TIFF at all")),
    "jpeg: EXIF that points behind its end": jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    "jpeg: a short JFIF": jpeg(segment(0xE0, b"JFIF\0")),
    "jpeg: a short Adobe": jpeg(segment(0xEE, b"Adobe")),
    "jpeg: parts of a profile that do not fit": jpeg(segment(0xE2, b"ICC_PROFILE\0\2\7abc")),
    "jpeg: an index of pictures that is none": jpeg(segment(0xE2, b"MPF\0no index")),
    "jpeg: Photoshop's, broken": jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xffx")),
    "jpeg: 40 large segments": jpeg(*[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b" " * 60_000)] * 40),
    "jpeg: an empty comment": jpeg(segment(0xFE, b"")),
    "webp: broken EXIF": webp((b"EXIF", b"no TIFF"), flags=8),
    "webp: EXIF, unsaid": webp((b"EXIF", b"no TIFF")),
    "webp: large XMP": webp((b"XMP ", b" " * 3_000_000), flags=4),
    "webp: EXIF that is cut": webp((b"EXIF", b"II*\0" + bytes(90)), flags=8)[:-40],
    "webp: XMP that is cut": webp((b"XMP ", b" " * 91), flags=4)[:-50],
    "webp: chunks of no known kind": webp((b"abcd", b"x" * 7), (b"EXIF", b""), flags=8),
    "webp: a broken profile": webp((b"ICCP", b"none"), flags=32),
    "tiff: a text behind the end": tiff_of(LEVELS, field(270, 2, 90_000_000, 7)),
    "tiff: EXIF behind the end": tiff_of(LEVELS, field(34665, 4, 1, 0x7FFFFFFF)),
    "tiff: EXIF in its pixels": tiff_of(LEVELS, field(34665, 4, 1, 250)),
    "tiff: EXIF of no number": tiff_of(LEVELS, field(34665, 2, 4, b"none")),
    "tiff: GPS behind the end": tiff_of(LEVELS, field(34853, 4, 1, 0x7FFFFFFF)),
    "tiff: a broken profile": tiff_of(LEVELS, field(34675, 7, 4, b"none")),
    "tiff: a field of no known type": tiff_of(LEVELS, field(40_000, 99, 3, 7)),
    "tiff: a resolution of nothing": tiff_of(LEVELS, field(282, 5, 1, bytes(8)), field(283, 5, 1, 0x7FFFFFFF)),
    "tiff: a large text": tiff_of(LEVELS, field(700, 1, 3_000_000, b" " * 3_000_000)),
    "tiff: broken text": tiff_of(
        LEVELS, field(305, 2, 8, b"\xff\xfe\xff\0\0\xff\xff\xff"), field(306, 2, 4, b"\xff" * 4)
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_odd_metadata_are_passed_over(kind: str) -> None:
    wanted = decode(JPEG)[..., 0] if kind.startswith("jpeg") else LEVELS
    got = decode(ODD[kind])
    assert (got == wanted[..., None]).all()
    assert frames(ODD[kind]) == 1


def turned(image_format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    page = np.full((20, 40, 3), RED, np.uint8)
    page[:, :20] = BLUE
    more = {"WEBP": {"lossless": True}, "TIFF": {"description": "a text"}}.get(image_format, {})
    return saved(page, image_format, exif=exif.tobytes(), icc_profile=exchanged_profile(), **more)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_profile_and_rotation_outlive_what_is_passed_over(image_format: str) -> None:
    data = turned(image_format)
    whole = decode(data)
    assert whole.shape == (40, 20, 3)
    odd = {
        "PNG": lambda: behind(data, chunk(b"tEXt", b"Software\0x", crc=1)),
        "JPEG": lambda: data[:2] + segment(0xE0, b"JFIF\0") + data[2:],
        "WEBP": lambda: data + b"XMP \xff\0\0\0",
        "TIFF": lambda: data,
    }[image_format]()
    assert (decode(odd) == whole).all()
    kept = next(version for version in versions(odd) if version != odd)
    profile = Image.open(io.BytesIO(kept)).info["icc_profile"]
    assert profile == exchanged_profile()
    assert (decode(kept) == whole).all()


def test_a_gray_profile_outlives_a_text_with_a_wrong_checksum() -> None:
    data = saved(LEVELS, icc_profile=gray_profile(1.0))
    assert (decode(with_chunk(data, chunk(b"tEXt", b"Software\0x", crc=1))) == decode(data)).all()


def test_an_animation_with_odd_metadata_is_one() -> None:
    moving = saved(Image.fromarray(LEVELS), save_all=True, append_images=[Image.fromarray(255 - LEVELS)])
    assert frames(moving) == 2
    assert frames(with_chunk(moving, chunk(b"tEXt", b"Software\0x", crc=1))) == 2


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
FORMS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: saved(NOISE),
    "JPEG": lambda: saved(NOISE, "JPEG"),
    "WEBP": lambda: saved(NOISE, "WEBP", lossless=True),
    "TIFF": lambda: tiff_of(NOISE),
}


@pytest.mark.parametrize("image_format", FORMS)
def test_pixels_that_are_cut_are_flagged(image_format: str) -> None:
    data = FORMS[image_format]()
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(PageUnreadableError) as caught:
            decode(data[: int(len(data) * share)])
        assert caught.value.code in ("TRUNCATED", "NOT_IMAGE")


def test_a_png_that_is_cut_in_its_pixels_gets_no_end() -> None:
    cut = with_chunk(saved(NOISE), chunk(b"tEXt", b"Software\0x"))[:2000]
    assert list(versions(cut)) == [cut]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200)
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_versions_never_change_a_pixel(image_format: str, data: st.DataObject) -> None:
    whole = FORMS[image_format]()
    wanted = decode(whole)
    name = data.draw(st.sampled_from([b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"pHYs", b"zzZz"]))
    body = data.draw(st.binary(max_size=60))
    odd = {
        "PNG": lambda: with_chunk(whole, chunk(name, body, data.draw(st.sampled_from([None, 7])))),
        "JPEG": lambda: whole[:2] + segment(data.draw(st.integers(0xE0, 0xED)), body) + whole[2:],
        "WEBP": lambda: whole + name + struct.pack("<I", data.draw(st.integers(0, 100))) + body,
        "TIFF": lambda: tiff_of(NOISE, field(data.draw(st.integers(600, 65535)), 7, max(4, len(body)), body.ljust(4))),
    }[image_format]()
    for version in list(versions(odd))[1:]:
        assert (decode(version) == wanted).all()


@settings(max_examples=200)
@given(st.sampled_from([PNG, JPEG, WEBP, webp(flags=8), tiff_of(LEVELS)]), st.data())
def test_any_bytes_have_versions(whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for where in data.draw(st.lists(st.integers(0, max(0, min(400, len(changed) - 1))), max_size=6)):
        changed[where : where + 1] = data.draw(st.binary(min_size=1, max_size=1))
    assert 1 <= len(list(versions(bytes(changed)))) <= 3


def test_directories_in_a_circle_end() -> None:
    circle = tiff([[field(270, 2, 4, b"abc\0")]], tail=8)
    assert len(list(versions(circle))) == 2
