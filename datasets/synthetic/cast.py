"""The cast of the generated series: who they are and how they are drawn.

A figure stands at (0, 0) of its pen, feet on the ground; y is up to about -1.2. Heads are drawn in a frame of their
own: centre (0, 0), radius 1. Each figure keeps shape, pattern and colours over all chapters. Several share gray levels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from datasets.synthetic.body import MOUTH, SKIN, Pose, arm, face, legs
from datasets.synthetic.pen import INK, PAPER, Material, Pen, curve, oval

BLUSH = Material(70, 30, 18)
FUR = Material(62, 34, 56)
FUR_DARK = Material(40, 20, 26)
DRESS = Material(50, 44, 46)
ROBE = Material(40, 36, -46)
ROBE_LIGHT = Material(50, 34, -44)
STAR = Material(84, 4, 66)
WOOD = Material(40, 16, 28)
SHELL = Material(62, -34, -12)
SHELL_LIGHT = Material(72, -30, -8)
LAMP = Material(50, 58, 34)
STEEL = Material(72, -1, -7)
STEEL_DARK = Material(50, 0, -9)
TABARD = Material(50, 62, 16)
GOLD = Material(72, 10, 66)
GOLD_LIGHT = Material(84, 0, 38)
COLLAR = Material(50, -4, -40)


@dataclass(frozen=True)
class Character:
    """One of the cast; lengths are in units of the figure's frame.

    name: as readers know it.
    draw: draws the figure in a pose.
    head: y of the centre, and the radius, of the head with its hat or ears.
    top: y of the top of the whole figure.
    half_width: of the whole figure.
    """

    name: str
    draw: Callable[[Pen, Pose], None]
    head: tuple[float, float]
    top: float
    half_width: float


def draw_character(pen: Pen, index: int, pose: Pose) -> None:
    """Draw one of the cast, with a bold silhouette.

    pen: the figure's feet are at its origin.
    index: of the figure, from 1.
    pose: how it stands.
    """
    own = replace(pen, label=index)
    CAST[index - 1].draw(own, pose)
    own.ring([(-0.8, -1.4), (0.8, 0.15)], 0.8)


def _fox(pen: Pen, pose: Pose) -> None:
    tail = [
        (-0.05, -0.2),
        (-0.22, -0.12),
        (-0.42, -0.22),
        (-0.46, -0.46),
        (-0.36, -0.62),
        (-0.32, -0.46),
        (-0.24, -0.36),
        (-0.08, -0.32),
    ]
    pen.fill(curve(tail), FUR, shade=0.05)
    pen.fill(curve([(-0.46, -0.46), (-0.36, -0.64), (-0.315, -0.45), (-0.38, -0.49)]), PAPER)
    legs(pen, -0.2, 0.08, pose.stride, SKIN, FUR_DARK, 0.075)
    arm(pen.placed(0, 0, flip=True), (0.1, -0.5), pose.arms[1], DRESS, SKIN)
    skirt = [
        (-0.1, -0.56),
        (0.1, -0.56),
        (0.14, -0.36),
        (0.25, -0.17),
        (0.12, -0.14),
        (0.0, -0.13),
        (-0.12, -0.14),
        (-0.25, -0.17),
        (-0.14, -0.36),
    ]
    pen.fill(skirt, DRESS, shade=0.07)
    pen.hatch([(-0.14, -0.36), (0.14, -0.36), (0.25, -0.17), (0, -0.13), (-0.25, -0.17)], 0.055, 72)
    pen.stroke([(-0.13, -0.37), (0.13, -0.37)], 2.6)
    pen.fill([(-0.1, -0.57), (0.1, -0.57), (0, -0.47)], PAPER)
    arm(pen, (0.1, -0.5), pose.arms[0], DRESS, SKIN)
    _fox_head(pen.placed(0, -0.74, 0.21, tilt=pose.tilt), pose.mood)


def _fox_head(head: Pen, mood: str) -> None:
    hair = [
        (-0.9, -0.6),
        (0, -1.12),
        (0.9, -0.6),
        (1.12, 0.2),
        (1.25, 0.95),
        (0.75, 0.72),
        (0, 0.95),
        (-0.75, 0.72),
        (-1.25, 0.95),
        (-1.12, 0.2),
    ]
    for side in (-1, 1):
        ear = head.placed(side * 0.62, -0.72, 1, flip=side < 0)
        ear.fill(curve([(-0.42, 0.05), (-0.12, -0.55), (0.36, -1.08), (0.46, -0.4), (0.42, 0.3)]), FUR)
        ear.fill([(0.1, -0.7), (0.36, -1.08), (0.46, -0.55)], FUR_DARK, line=0.7)
        ear.fill(curve([(-0.12, 0.0), (0.1, -0.42), (0.26, -0.3), (0.25, 0.2)]), GOLD_LIGHT, line=0.7)
    head.fill(curve(hair), FUR, shade=0.22)
    head.fill(
        curve([(-0.82, -0.1), (-0.5, -0.7), (0.5, -0.7), (0.82, -0.1), (0.62, 0.6), (0, 0.88), (-0.62, 0.6)]), SKIN
    )
    for side in (-1, 1):
        head.disc(side * 0.55, 0.42, 0.15, 0.08, BLUSH, line=0)
    face(head, mood)
    bangs = [
        (-0.98, 0.18),
        (-0.92, -0.5),
        (0, -1.08),
        (0.92, -0.5),
        (0.98, 0.18),
        (0.72, -0.18),
        (0.5, -0.36),
        (0.32, -0.1),
        (0.05, -0.42),
        (-0.3, -0.08),
        (-0.5, -0.4),
        (-0.75, -0.1),
    ]
    head.fill(bangs, FUR)
    for x in (-0.5, 0.1, 0.5):
        head.stroke([(x, -0.72), (x * 1.25, -0.48)], 0.7)


def _wizard(pen: Pen, pose: Pose) -> None:
    hand = (0.3, -0.42)
    pen.limb([(hand[0], 0.0), (hand[0] + 0.02, -0.86)], 0.035, WOOD)
    pen.disc(hand[0] + 0.02, -0.92, 0.065, 0.065, SHELL_LIGHT, shade=0.03)
    robe = [
        (-0.12, -0.6),
        (0.12, -0.6),
        (0.2, -0.3),
        (0.3, -0.02),
        (0.1, 0.02),
        (-0.1, 0.02),
        (-0.3, -0.02),
        (-0.2, -0.3),
    ]
    pen.fill(curve(robe, steps=4), ROBE, shade=0.09)
    pen.fill([(-0.29, -0.1), (0.29, -0.1), (0.31, -0.02), (0.1, 0.02), (-0.1, 0.02), (-0.31, -0.02)], ROBE_LIGHT)
    pen.disc(0.0, -0.3, 0.028, 0.028, STAR, line=0.7)
    pen.disc(0.0, -0.2, 0.028, 0.028, STAR, line=0.7)
    sleeve = [(0.08, -0.57), (0.2, -0.5), (0.34, -0.4), (0.27, -0.3), (0.12, -0.4)]
    pen.disc(*hand, 0.045, 0.045, SKIN)
    pen.fill(curve(sleeve, steps=4), ROBE, shade=0.03)
    other = pen.placed(-0.1, -0.53, flip=True, tilt=30 - min(pose.arms[1], 120))
    other.disc(0.2, 0.18, 0.045, 0.045, SKIN)
    other.fill(curve([(0, -0.04), (0.12, 0.0), (0.24, 0.1), (0.15, 0.22), (0.0, 0.12)], steps=4), ROBE)
    _wizard_head(pen.placed(0, -0.66, 0.16, tilt=pose.tilt * 0.7), pose.mood)


def _wizard_head(head: Pen, mood: str) -> None:
    head.disc(0, 0, 0.95, 0.95, SKIN)
    beard = [
        (-0.98, 0.1),
        (-0.5, 0.32),
        (0, 0.42),
        (0.5, 0.32),
        (0.98, 0.1),
        (0.95, 0.9),
        (0.55, 1.6),
        (0.1, 2.2),
        (-0.3, 1.7),
        (-0.85, 1.1),
    ]
    face(head.placed(0, -0.2), mood, gap=0.36)
    head.fill(curve(beard), PAPER)
    if mood in ("happy", "shout", "wow", "wink"):
        head.disc(0, 0.68, 0.2, 0.16, MOUTH)
    for x in (-0.35, 0.05, 0.4):
        head.stroke(curve([(x, 1.0), (x * 0.9 + 0.06, 1.25), (x * 0.6, 1.55)], closed=False), 0.7)
    head.disc(0, 0.3, 0.22, 0.18, BLUSH)
    head.fill(
        curve([(-0.62, 0.6), (-0.3, 0.36), (0, 0.46), (0.3, 0.36), (0.62, 0.6), (0.2, 0.58), (0, 0.54), (-0.2, 0.58)]),
        PAPER,
        line=0.8,
    )
    hat = [(-0.95, -0.62), (-0.55, -1.7), (-0.05, -2.6), (0.5, -3.35), (0.42, -2.5), (0.72, -1.6), (0.95, -0.62)]
    head.fill(hat, ROBE, shade=0.3)
    for x, y, r in ((-0.25, -1.2, 0.26), (0.36, -1.55, 0.2), (0.08, -2.15, 0.18)):
        head.fill(star(x, y, r), STAR, line=0.7)
    head.disc(0, -0.66, 1.5, 0.26, ROBE)
    head.fill(oval(0, -0.74, 0.97, 0.18, 180, 360), ROBE_LIGHT, line=0.8)


def star(x: float, y: float, radius: float) -> np.ndarray:
    """Return the points (10, 2) of a five-pointed star."""
    turns = np.deg2rad(-90 + 36 * np.arange(10))
    reach = np.where(np.arange(10) % 2, 0.42, 1.0) * radius
    return np.stack([x + reach * np.cos(turns), y + reach * np.sin(turns)], axis=1)


def _robot(pen: Pen, pose: Pose) -> None:
    for side in (-1, 1):
        foot = side * (0.12 + 0.05 * pose.stride)
        pen.limb([(side * 0.1, -0.15), (foot, -0.05)], 0.05, STEEL_DARK)
        pen.fill(oval(foot, 0.0, 0.1, 0.09, 180, 360), SHELL)
    for side, angle in ((-1, pose.arms[1]), (1, pose.arms[0])):
        half = pen.placed(0, 0, flip=side < 0)
        x, y = arm(half, (0.25, -0.45), angle, STEEL_DARK, SHELL, width=0.05)
        half.disc(x, y, 0.055, 0.055, SHELL)
        half.disc(0.25, -0.45, 0.055, 0.055, SHELL_LIGHT)
    pen.disc(0, -0.36, 0.28, 0.27, SHELL, shade=0.09)
    pen.fill(curve([(-0.15, -0.46), (0.15, -0.46), (0.15, -0.28), (-0.15, -0.28)]), SHELL_LIGHT)
    pen.disc(-0.07, -0.37, 0.04, 0.04, LAMP)
    for y in (-0.42, -0.37, -0.32):
        pen.stroke([(0.02, y), (0.11, y)], 1.4)
    for x in (-0.21, 0.21):
        pen.disc(x, -0.36, 0.012, 0.012, INK, line=0)
    _robot_head(pen.placed(0, -0.76, 0.2, tilt=pose.tilt), pose.mood)


def _robot_head(head: Pen, mood: str) -> None:
    head.limb([(0, -0.7), (0.1, -1.35)], 0.07, STEEL_DARK)
    head.disc(0.1, -1.42, 0.17, 0.17, LAMP, shade=0.08)
    for side in (-1, 1):
        head.disc(side * 1.08, 0.1, 0.2, 0.3, SHELL_LIGHT)
    dome = [
        (-1.05, 0.5),
        (-1.05, -0.2),
        (-0.7, -0.75),
        (0, -0.92),
        (0.7, -0.75),
        (1.05, -0.2),
        (1.05, 0.5),
        (0.6, 0.78),
        (-0.6, 0.78),
    ]
    head.fill(curve(dome), SHELL, shade=0.2)
    head.fill(curve([(-0.8, -0.3), (0, -0.42), (0.8, -0.3), (0.84, 0.3), (0.5, 0.46), (-0.5, 0.46), (-0.84, 0.3)]), INK)
    for side in (-1, 1):
        eye = head.placed(side * 0.36, 0.02, flip=side < 0)
        if mood in ("happy", "wink"):
            eye.stroke(oval(0, 0.12, 0.18, 0.24, 195, 345), 2.2, PAPER)
        elif mood in ("cross", "shout"):
            eye.fill([(-0.2, 0.2), (-0.2, -0.06), (0.22, -0.24), (0.22, 0.2)], PAPER, line=0)
        else:
            size = 0.26 if mood == "wow" else 0.19
            eye.disc(0, 0, size, size * (0.6 if mood == "sad" else 1), PAPER, line=0)
    head.stroke([(-0.25, 0.62), (0.25, 0.62)], 1.6)


def _knight(pen: Pen, pose: Pose) -> None:
    legs(pen, -0.24, 0.09, pose.stride, STEEL, STEEL_DARK, 0.1)
    wrist = arm(pen, (0.13, -0.5), pose.arms[0], STEEL, STEEL_DARK, width=0.1)
    tabard = [
        (-0.14, -0.57),
        (0.14, -0.57),
        (0.17, -0.36),
        (0.21, -0.14),
        (0.07, -0.12),
        (0.0, -0.18),
        (-0.07, -0.12),
        (-0.21, -0.14),
        (-0.17, -0.36),
    ]
    pen.fill(tabard, TABARD, shade=0.07)
    pen.fill([(-0.14, -0.57), (0.0, -0.44), (0.14, -0.57), (0.14, -0.49), (0, -0.36), (-0.14, -0.49)], PAPER)
    pen.stroke([(-0.175, -0.31), (0.175, -0.31)], 3.0)
    sword = pen.placed(*wrist, tilt=25 - pose.arms[0] * 0.4)
    sword.fill([(-0.02, 0), (-0.02, -0.4), (0, -0.46), (0.02, -0.4), (0.02, 0)], STEEL)
    sword.limb([(-0.07, 0), (0.07, 0)], 0.02, GOLD)
    pen.disc(*wrist, 0.055, 0.055, STEEL_DARK)
    shield = pen.placed(-0.24, -0.34, 0.17)
    shield.fill(curve([(-0.8, -0.9), (0, -1.05), (0.8, -0.9), (0.75, 0.1), (0, 1.1), (-0.75, 0.1)]), TABARD, shade=0.2)
    shield.fill(
        [
            (-0.12, -0.75),
            (0.12, -0.75),
            (0.12, -0.25),
            (0.5, -0.25),
            (0.5, 0.0),
            (0.12, 0.0),
            (0.12, 0.65),
            (-0.12, 0.65),
            (-0.12, 0.0),
            (-0.5, 0.0),
            (-0.5, -0.25),
            (-0.12, -0.25),
        ],
        PAPER,
        line=0.8,
    )
    _knight_head(pen.placed(0, -0.75, 0.2, tilt=pose.tilt * 0.7), pose.mood)


def _knight_head(head: Pen, mood: str) -> None:
    plume = [
        (0.0, -0.95),
        (-0.2, -1.55),
        (-0.75, -1.75),
        (-1.3, -1.35),
        (-1.5, -0.6),
        (-1.2, -0.1),
        (-1.1, -0.65),
        (-0.6, -1.0),
    ]
    head.fill(curve(plume), TABARD, shade=0.22)
    head.stroke(curve([(-0.15, -1.2), (-0.75, -1.4), (-1.2, -0.8)], closed=False), 0.8)
    helmet = [
        (-1.0, 0.65),
        (-1.05, -0.2),
        (-0.7, -0.85),
        (0, -1.08),
        (0.7, -0.85),
        (1.05, -0.2),
        (1.0, 0.65),
        (0.5, 1.0),
        (-0.5, 1.0),
    ]
    head.fill(curve(helmet), STEEL, shade=0.22)
    head.fill(
        curve([(-0.7, -0.25), (0, -0.36), (0.7, -0.25), (0.74, 0.35), (0.4, 0.8), (-0.4, 0.8), (-0.74, 0.35)]), SKIN
    )
    face(head, mood, gap=0.33, y=0.1)
    head.fill(curve([(-0.98, -0.3), (0, -0.42), (0.98, -0.3), (0.9, -0.62), (0, -0.78), (-0.9, -0.62)]), STEEL_DARK)
    for x in (-0.5, 0, 0.5):
        head.disc(x, -0.55, 0.06, 0.06, INK, line=0)


def _cat(pen: Pen, pose: Pose) -> None:
    swing = pose.stride * 0.08
    pen.limb(
        curve([(-0.1, -0.06), (-0.32, -0.04), (-0.36 - swing, -0.24), (-0.26 - swing, -0.4)], closed=False), 0.07, GOLD
    )
    for t in ((-0.37 - swing, -0.2), (-0.345 - swing, -0.3)):
        pen.stroke([(t[0] - 0.02, t[1]), (t[0] + 0.05, t[1] + 0.015)], 2.4)
    pen.fill(
        curve([(-0.12, -0.34), (0.12, -0.34), (0.2, -0.14), (0.16, 0.0), (-0.16, 0.0), (-0.2, -0.14)]), GOLD, shade=0.06
    )
    for y in (-0.22, -0.15, -0.08):
        pen.stroke([(-0.185, y), (-0.1, y + 0.012)], 2.2)
        pen.stroke([(0.185, y), (0.1, y + 0.012)], 2.2)
    pen.disc(0, -0.16, 0.09, 0.12, GOLD_LIGHT, line=0)
    pen.disc(-0.08, -0.01, 0.07, 0.04, GOLD)
    if pose.arms[0] > 70:
        pen.limb([(0.1, -0.24), (0.24, -0.34)], 0.075, GOLD)
    else:
        pen.disc(0.08, -0.01, 0.07, 0.04, GOLD)
    pen.limb([(-0.1, -0.3), (0, -0.275), (0.1, -0.3)], 0.035, COLLAR)
    pen.disc(0, -0.25, 0.03, 0.03, STAR)
    _cat_head(pen.placed(0, -0.46, 0.2, tilt=pose.tilt), pose.mood)


def _cat_head(head: Pen, mood: str) -> None:
    for side in (-1, 1):
        ear = head.placed(side * 0.62, -0.55, flip=side < 0)
        ear.fill([(-0.45, 0.0), (0.22, -0.72), (0.48, 0.32)], GOLD)
        ear.fill([(-0.12, -0.06), (0.18, -0.42), (0.3, 0.16)], BLUSH, line=0.7)
    head.fill(
        curve(
            [(-1.15, 0.2), (-0.75, -0.68), (0, -0.85), (0.75, -0.68), (1.15, 0.2), (0.7, 0.78), (0, 0.92), (-0.7, 0.78)]
        ),
        GOLD,
        shade=0.18,
    )
    for x in (-0.26, 0, 0.26):
        head.stroke([(x, -0.78), (x * 0.8, -0.42)], 2.4)
    head.disc(0, 0.52, 0.48, 0.3, GOLD_LIGHT, line=0)
    face(head.placed(0, 0.06), mood, gap=0.48, y=-0.02)
    head.fill([(-0.12, 0.26), (0.12, 0.26), (0, 0.4)], BLUSH, line=0.8)
    for side in (-1, 1):
        for slope in (-0.08, 0.08):
            head.stroke([(side * 0.62, 0.42 + slope), (side * 1.4, 0.36 + 2.4 * slope)], 0.8)


CAST = (
    Character("Rue the fox", _fox, (-0.76, 0.28), -1.14, 0.3),
    Character("Ollam the wizard", _wizard, (-0.74, 0.26), -1.2, 0.3),
    Character("Bolt the robot", _robot, (-0.78, 0.26), -1.08, 0.34),
    Character("Ser Brand the knight", _knight, (-0.78, 0.26), -1.1, 0.36),
    Character("Miso the cat", _cat, (-0.48, 0.25), -0.72, 0.26),
)
