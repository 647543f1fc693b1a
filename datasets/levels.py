"""Decoded pictures of any mode and range as sRGB.

H, W: pixels. Modes are Pillow's: L, LA and so on have 8 bits, I;16 has 16, I 32, F is float.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from datasets.errors import Code, PageUnreadableError

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # fields of TIFF
_WHITE_IS_ZERO = 0
_SIGNED = 2
_FULL = 65_535  # white, in 16 bits
_OVER = 0.1  # of the range: how far a resampled picture may shoot over it
_DARK = 1 / 16  # of the range: a page that has nothing as light as this is of another range
_WITHOUT_ALPHA = {"LA": "L", "PA": "RGB", "RGBA": "RGB"}
_FIT = {"GRAY": ("L", "RGB", "I;16"), "RGB": ("RGB",), "CMYK": ("CMYK",)}  # modes of pictures, by a profile's colours


@dataclass(frozen=True)
class Samples:
    """What a file says of its samples, and a mode does not.

    bits: of a sample.
    signed: whether samples are signed numbers.
    inverted: whether 0 is white where the mode does not know it.
    """

    bits: int = 8
    signed: bool = False
    inverted: bool = False


def samples_of(image: Image.Image, data: bytes) -> Samples:
    """Return what the file says of its samples.

    image: the picture, opened.
    data: its encoded bytes.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        bits, form = tags.get(_BITS, (1,))[0], tags.get(_SAMPLE_FORMAT, (1,))[0]
        return Samples(bits, form == _SIGNED, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
    if image.format == "PNG":
        return Samples(data[24])  # of IHDR
    return Samples(16 if image.mode.startswith("I") else 8)


def to_srgb(image: Image.Image, samples: Samples) -> Image.Image:
    """Return a picture in 8 bits and opaque, of a mode whose sRGB is what Pillow converts it to.

    image: decoded.
    samples: what its file says of its samples.

    An ICC profile is converted to sRGB, more than 8 bits are scaled, and transparency is laid over white. Raises
    PageUnreadableError RANGE where numbers are no tones.
    """
    profile = image.info.get("icc_profile")
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    alpha = _alpha(image, samples.bits)
    image = image.convert(_WITHOUT_ALPHA[image.mode]) if image.mode in _WITHOUT_ALPHA else image
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_sixteen_bits(np.asarray(image), samples))
    elif image.mode not in ("1", "L", "CMYK"):
        image = image.convert("RGB")
    if profile:
        image = _through_profile(image, profile)
    if image.mode == "I;16":
        image = Image.fromarray(np.round(np.asarray(image) / np.float32(257)).astype(np.uint8))
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(alpha)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def _alpha(image: Image.Image, bits: int) -> Image.Image | None:
    """Return the opacity (H, W) as a picture of mode L; None where all is opaque.

    bits: of a sample in the file, in which a PNG names the one colour that is transparent.
    """
    if image.mode in _WITHOUT_ALPHA:
        return image.getchannel("A")
    key = image.info.get("transparency")
    if key is None:
        return None
    if image.mode == "P":
        return image.convert("RGBA").getchannel("A")
    values = np.asarray(image)
    if values.ndim == 3:
        seen = (values == [_as_decoded(value, bits, values.dtype) for value in key]).all(-1)
    else:
        seen = values == _as_decoded(key, bits, values.dtype)
    return Image.fromarray(np.where(seen, np.uint8(0), np.uint8(255)))


def _as_decoded(value: int, bits: int, dtype: np.dtype) -> int:
    """Return a sample of the file as Pillow decodes it: fewer bits are spread to 8, and those of a colour are cut."""
    if dtype == np.bool_:
        return bool(value)
    if dtype.itemsize > 1:
        return value
    return value >> 8 if bits > 8 else value * 255 // (2**bits - 1)


def _sixteen_bits(values: np.ndarray, samples: Samples) -> np.ndarray:
    """Return samples of more than 8 bits as (H, W) uint16, 65,535 for white.

    Which range floats and 32-bit numbers are meant in, is told by their largest. Raises RANGE.
    """
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        top = _top(float(high), (1, 255, _FULL), darkest=0.0)
    elif samples.bits == 32:
        values = values if samples.signed else values.view(np.uint32)
        low, high = values.min(), values.max()
        top = _top(int(high), (255, _FULL, 2**31 - 1 if samples.signed else 2**32 - 1))
    elif samples.signed:
        top = _top(int(high), (255, 2 ** (samples.bits - 1) - 1))
    else:
        top = 2**samples.bits - 1
    if top is None or not low >= -_OVER * top:
        message = f"samples from {low:g} to {high:g}, no known range of tones; save it as 8-bit gray or RGB"
        raise PageUnreadableError(Code.RANGE, message)
    if top == _FULL and values.dtype == np.uint16 and not samples.inverted:
        return values
    scaled = np.clip(values.astype(np.float32) * np.float32(_FULL / top), 0, _FULL)
    return np.round(_FULL - scaled if samples.inverted else scaled).astype(np.uint16)


def _top(high: float, tops: Sequence[int], darkest: float = _DARK) -> int | None:
    """Return the number that is white where the largest is `high`; None where that fits no range.

    darkest: share of the first range that the largest must reach; of the others it must reach _DARK.
    """
    if high == 0:
        return tops[0]
    for top in tops:
        if top * (darkest if top == tops[0] else _DARK) <= high <= top * (1 + _OVER):
            return top
    return None


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Return the picture in sRGB: as it is where the profile is not of its kind of colours, as viewers show it.

    A gray profile fits a picture in RGB whose every pixel is gray.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kind = source.profile.xcolor_space.strip()
        if image.mode not in _FIT.get(kind, ()) or "sRGB" in ImageCms.getProfileDescription(source):
            return image
        if kind == "GRAY" and image.mode == "RGB":
            levels = np.asarray(image)
            if (levels[..., :1] != levels).any():
                return image
            image = Image.fromarray(levels[..., 0])
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # every viewer ignores a profile that does not fit its picture
