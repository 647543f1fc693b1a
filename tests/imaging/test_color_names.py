"""Names of colours, against what everybody calls them and against the nearest prototype computed with scikit-image."""

import numpy as np
import pytest
from skimage import color as skcolor

from imaging.color_names import _PROTOTYPES, COLOR_NAMES, color_names

AGREED = {
    "black": ("000000", "101010"),
    "white": ("ffffff", "f8f8f8", "fffdf5"),
    "gray": ("808080", "c0c0c0", "505050"),
    "red": ("ff0000", "dc143c", "b22222", "c81e1e"),
    "orange": ("ffa500", "ff7f00", "e8772e", "d2691e"),
    "brown": ("8b4513", "704214", "5a3a1e", "3b2314", "8d5524", "ad8150"),  # wood, sepia, dark skin
    "yellow": ("ffff00", "ffd700", "f0e68c", "ffe94d"),
    "green": ("00ff00", "008000", "006400", "556b2f", "a8e0a8"),
    "blue": ("0000ff", "000080", "87ceeb", "4169e1", "add8e6", "4682b4"),
    "purple": ("800080", "6a0dad", "9370db", "2a1030"),
    "pink": ("ffc0cb", "ff69b4", "ff1493"),
}


def pixel(code: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(code), np.uint8)


def test_the_names_are_the_eleven_basic_terms() -> None:
    assert sorted(COLOR_NAMES) == sorted(AGREED)


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, codes in AGREED.items() for code in codes])
def test_a_colour_is_called_what_everybody_calls_it(name: str, code: str) -> None:
    assert COLOR_NAMES[int(color_names(pixel(code)))] == name


def test_grays_go_from_black_to_white() -> None:
    names = color_names(np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1))

    order = [COLOR_NAMES[name] for name in dict.fromkeys(names.tolist())]
    assert order == ["black", "gray", "white"]
    assert (np.diff(names.astype(int)) != 0).sum() == 2


def test_a_colour_has_the_name_of_its_nearest_prototype() -> None:
    cells = np.random.default_rng(3).integers(0, 32, (400, 3))
    middles = (cells * 8 + 4).astype(np.uint8)
    prototypes = [(pixel(code), name) for name, codes in _PROTOTYPES.items() for code in codes.split()]
    lab = skcolor.rgb2lab(np.array([[color for color, _ in prototypes]]))[0]

    away = skcolor.deltaE_ciede2000(skcolor.rgb2lab(middles[None])[0][:, None], lab[None])

    nearest = [prototypes[index][1] for index in away.argmin(axis=1)]
    clear = np.diff(np.sort(away, axis=1)[:, :2], axis=1)[:, 0] > 0.01
    ours = color_names(middles)
    assert clear.mean() > 0.9
    assert [COLOR_NAMES[name] for name in ours[clear]] == [
        name for name, sure in zip(nearest, clear, strict=True) if sure
    ]
    assert (color_names(middles + 3) == ours).all(), "a cell has one name"


def test_a_page_keeps_its_shape() -> None:
    page = np.zeros((5, 7, 3), np.uint8)
    page[2, 3] = (255, 0, 0)

    names = color_names(page)

    assert names.shape == (5, 7)
    assert COLOR_NAMES[names[2, 3]] == "red"
    assert COLOR_NAMES[names[0, 0]] == "black"
