"""The numbers of the standards that colours are computed by; imaging.color (NumPy) and models.color (torch) use them.

White is D65. XYZN is XYZ over the white's, so that (1, 1, 1) is white. All arithmetic here is in float64.
"""

import numpy as np

# IEC 61966-2-1: an encoded value of sRGB, in [0, 1], is SRGB_SLOPE times linear light up to the knee, above it
# (1 + SRGB_OFFSET) times linear light to the power of 1 / SRGB_GAMMA, less SRGB_OFFSET.
SRGB_SLOPE = 12.92
SRGB_OFFSET = 0.055
SRGB_GAMMA = 2.4
SRGB_KNEE_LINEAR = 0.0031308
SRGB_KNEE_ENCODED = 0.04045

_RGB_TO_XYZ = np.array(  # IEC 61966-2-1, of linear light
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
RGB_TO_XYZN = _RGB_TO_XYZ / _RGB_TO_XYZ.sum(axis=1, keepdims=True)
XYZN_TO_RGB = np.linalg.inv(RGB_TO_XYZN)

# CIE 15: CIELAB's f is the cube root of a value of XYZN above LAB_EPSILON, which is LAB_DELTA cubed; below it the
# straight line (LAB_KAPPA times the value + 16) / 116.
LAB_EPSILON = 216 / 24389
LAB_KAPPA = 24389 / 27
LAB_DELTA = 6 / 29

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: shares of the encoded R, G, B
