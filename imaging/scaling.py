"""Pages made smaller."""

import cv2

from imaging.color import U8


def at_most(picture: U8, longest: int) -> U8:
    """Return a picture (H, W) or (H, W, 3) no longer than `longest` pixels; one that is not is returned itself."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = picture.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: U8 = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small
