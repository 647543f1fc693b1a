"""A colour picture laid on the ink of its page."""

import cv2
import numpy as np

from imaging.color import luma
from imaging.registration import common_box, register
from tests.imaging.editions import page, printed, turned


def waved(ink, most):
    """The page with its lines moved by up to `most` pixels, smoothly, and how far: (H, W, 2)."""
    height, width = ink.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    move = most * np.stack([np.sin(2 * np.pi * y / height), np.sin(2 * np.pi * x / width)], axis=-1)
    return cv2.remap(ink, x + move[..., 0], y + move[..., 1], cv2.INTER_CUBIC, borderValue=255), move


def test_colours_lie_on_the_lines_of_a_page_that_is_warped():
    ink, color = page(2)
    gray, _ = waved(ink, 3.0)
    found = register(color, gray, np.eye(3))
    assert found is not None
    off = [np.abs(luma(laid).astype(int) - gray).mean() for laid in (color, found.color)]
    assert off[1] < 0.4 * off[0]
    assert 1.0 < np.linalg.norm(found.warp, axis=-1).mean() < 4.0


def test_what_lies_right_is_not_moved():
    ink, color = page(2)
    found = register(color, ink, np.eye(3))
    assert found is not None
    assert found.box == (0, 0, 640, 900)
    assert np.linalg.norm(found.warp, axis=-1).max() < 0.3
    assert found.masked.mean() < 0.01


def test_the_common_area_is_kept_and_what_is_beyond_the_picture_masked():
    ink, color = page(1)
    matrix = turned(2, 1.2, (50, 20))
    found = register(color, printed(ink, matrix, (860, 1200)), matrix)
    assert found is not None
    left, top, right, bottom = found.box
    assert (left, top) == (12, 20)
    assert found.color.shape == (bottom - top, right - left, 3)
    assert found.masked.shape == found.color.shape[:2]
    assert found.masked[3, 3]
    assert found.masked[-3, -3]
    assert not found.masked[100:-100, 100:-100].any()


def test_other_lettering_is_masked_and_no_more():
    ink, color = page(2)
    gray = ink.copy()
    box = np.s_[380:460, 200:440]
    cv2.ellipse(gray, (320, 420), (120, 40), 0, 0, 360, 255, -1)
    cv2.ellipse(gray, (320, 420), (120, 40), 0, 0, 360, 0, 2)
    cv2.putText(gray, "WAIT A MINUTE", (235, 428), cv2.FONT_HERSHEY_DUPLEX, 0.7, 0, 1, cv2.LINE_AA)
    found = register(color, gray, np.eye(3))
    assert found is not None
    assert found.masked[box].mean() > 0.6
    found.masked[360:480, 180:460] = False
    assert found.masked.mean() < 0.02


def test_a_logo_is_masked():
    ink, color = page(3)
    gray = ink.copy()
    cv2.rectangle(gray, (250, 410), (390, 490), 0, -1)
    for row in (430, 450, 470):
        cv2.putText(gray, "PAIRS+CO", (258, row + 8), cv2.FONT_HERSHEY_DUPLEX, 0.8, 255, 2, cv2.LINE_AA)
    found = register(color, gray, np.eye(3))
    assert found is not None
    assert found.masked[410:490, 250:390].mean() > 0.4


def test_a_finer_picture_is_made_as_coarse_as_its_page():
    ink, color = page(2)
    small = cv2.resize(ink, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    found = register(color, small, np.diag([0.3, 0.3, 1.0]))
    assert found is not None
    wanted = cv2.resize(color, small.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(found.color.astype(int) - wanted).mean() < 3


def test_pictures_that_hardly_touch_are_not_registered():
    ink, color = page(2)
    assert register(color, ink, turned(0, 1, (630, 0))) is None
    assert common_box((640, 900), (640, 900), turned(0, 1, (630, 0))) == (630, 0, 640, 900)
