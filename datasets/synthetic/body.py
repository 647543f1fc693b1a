"""What the figures of the generated series share: poses, faces, arms and legs."""

from dataclasses import dataclass

import numpy as np

from datasets.synthetic.pen import INK, PAPER, Material, Pen, curve, oval

MOODS = ("calm", "happy", "shout", "cross", "sad", "wow", "wink")

SKIN = Material(80, 12, 22)
MOUTH = Material(40, 42, 22)


@dataclass(frozen=True)
class Pose:
    """How a figure stands.

    mood: one of MOODS.
    arms: of the arm in front and the one behind, degrees outwards from hanging down.
    stride: -1 to 1.
    tilt: of the head, in degrees.
    """

    mood: str = "calm"
    arms: tuple[float, float] = (20.0, 20.0)
    stride: float = 0.0
    tilt: float = 0.0


def face(pen: Pen, mood: str, *, gap: float = 0.38, y: float = 0.1) -> None:
    """Draw eyes and mouth on a head of radius 1.

    pen: its frame is the head's.
    mood: one of MOODS.
    gap: from the head's middle to an eye.
    y: of the eyes.
    """
    for side in (-1, 1):
        _eye(pen.placed(side * gap, y, 1, flip=side < 0), "happy" if mood == "wink" and side > 0 else mood)
    mouth_y = y + 0.46
    if mood in ("happy", "wink"):
        pen.fill(oval(0, mouth_y - 0.08, 0.24, 0.26, 0, 180), MOUTH)
    elif mood in ("shout", "wow"):
        pen.disc(0, mouth_y + 0.04, *((0.26, 0.26) if mood == "shout" else (0.12, 0.16)), MOUTH)
    elif mood == "calm":
        pen.stroke(oval(0, mouth_y - 0.1, 0.2, 0.14, 20, 160))
    else:
        pen.stroke(oval(0, mouth_y + 0.12, 0.2, 0.14, 200, 340), 1.2)


def _eye(pen: Pen, mood: str) -> None:
    if mood == "happy":
        pen.stroke(oval(0, 0.08, 0.15, 0.2, 190, 350), 1.7)
        return
    if mood == "wow":
        pen.disc(0, 0, 0.19, 0.24, PAPER)
        pen.disc(0, 0, 0.06, 0.08, INK)
        return
    pen.disc(0, 0, 0.12, 0.21, INK)
    pen.disc(-0.04, -0.08, 0.05, 0.07, PAPER, line=0)
    if mood in ("cross", "shout"):
        pen.stroke([(-0.2, -0.22), (0.22, -0.36)], 1.9)
    elif mood == "sad":
        pen.stroke([(-0.2, -0.38), (0.22, -0.26)], 1.4)


def arm(
    pen: Pen, shoulder: tuple[float, float], angle: float, sleeve: Material, hand: Material, *, width: float = 0.085
) -> tuple[float, float]:
    """Draw an arm that hangs to the right at 0 degrees and points up at 180.

    pen: its frame is the figure's.
    shoulder: x, y where the arm begins.
    angle: in degrees.
    sleeve: material of the arm.
    hand: material of the hand.
    width: of the arm, in units of the frame.

    Returns x, y of the hand.
    """
    turn, bend = np.deg2rad(angle), np.deg2rad(angle + 25)
    x, y = shoulder
    elbow = (x + 0.12 * float(np.sin(turn)), y + 0.12 * float(np.cos(turn)))
    wrist = (elbow[0] + 0.11 * float(np.sin(bend)), elbow[1] + 0.11 * float(np.cos(bend)))
    pen.disc(*wrist, width * 0.62, width * 0.62, hand)
    pen.limb(curve([shoulder, elbow, wrist], closed=False)[:-3], width, sleeve)
    return wrist


def legs(pen: Pen, hip: float, gap: float, stride: float, cloth: Material, boot: Material, width: float = 0.09) -> None:
    """Draw both legs.

    pen: its frame is the figure's, with the ground at y = 0.
    hip: y where the legs begin.
    gap: from the middle to a leg.
    stride: -1 to 1.
    cloth: material of the legs.
    boot: material of the feet.
    width: of a leg, in units of the frame.
    """
    for side in (-1, 1):
        foot = (side * gap + stride * side * 0.1, -0.03 - max(0.0, stride * side) * 0.04)
        pen.limb([(side * gap, hip), foot], width, cloth)
        pen.fill(
            curve(
                [
                    (foot[0] - 0.07, foot[1] + 0.03),
                    (foot[0] - 0.05, foot[1] - 0.06),
                    (foot[0] + 0.05, foot[1] - 0.06),
                    (foot[0] + 0.1, foot[1] + 0.03),
                ]
            ),
            boot,
        )
