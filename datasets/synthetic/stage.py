"""Staging a panel of the generated series: the scene, who stands where, what they say.

H, W: pixels of the panel's own canvas, which has twice the page's size.
"""

from dataclasses import dataclass, replace

import numpy as np

from datasets.synthetic.body import MOODS, Pose
from datasets.synthetic.cast import CAST, draw_character
from datasets.synthetic.lettering import Box, Speaker, bubble, caption, sound
from datasets.synthetic.pen import Material, Pen
from datasets.synthetic.scenes import draw_burst, draw_dash, draw_scene
from datasets.synthetic.script import CAPTIONS, LINES, SOUNDS

Rng = np.random.Generator

_TINTS = (
    Material(80, 22, 14),
    Material(80, -20, -12),
    Material(80, 2, 40),
    Material(72, 22, -22),
    Material(72, -26, 16),
)
_HEADROOM = {"far": 0.44, "full": 0.3, "medium": 0.34, "close": 0.22}


@dataclass(frozen=True)
class Shot:
    """What a panel shows.

    scene: a key of SCENES.
    cast: who is in it, from the left, counted from 1.
    framing: far, full, medium or close.
    backdrop: scene, burst or dash.
    speakers: who speaks, as positions in `cast`.
    lines: which of their lines they say, as positions among that character's LINES.
    caption: whether there is a narrator's box.
    sound: whether there is a sound effect.
    """

    scene: str
    cast: tuple[int, ...]
    framing: str
    backdrop: str = "scene"
    speakers: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()
    caption: bool = False
    sound: bool = False


@dataclass(frozen=True)
class Figure:
    """One of the cast on their mark.

    who: counted from 1.
    x: of the feet, in pixels.
    y: of the feet, in pixels.
    scale: pixels of a unit of the figure's frame.
    flip: whether the figure is mirrored left to right.
    """

    who: int
    x: float
    y: float
    scale: float
    flip: bool

    @property
    def head(self) -> Speaker:
        """The head, as a bubble belongs to it."""
        height, radius = CAST[self.who - 1].head
        return Speaker(self.x, self.y + height * self.scale, radius * self.scale)

    @property
    def boxes(self) -> list[Box]:
        """The boxes that a bubble should not hide: the head, which counts twice, and the body."""
        head, body = self.head, CAST[self.who - 1]
        face = (head.x - head.radius, head.y - head.radius, head.x + head.radius, head.y + head.radius)
        half, top = body.half_width * self.scale, self.y + body.top * self.scale
        return [face, face, (self.x - half, top, self.x + half, self.y)]


def stage(pen: Pen, shot: Shot, inset: int, size: float, rng: Rng) -> None:
    """Draw a panel.

    pen: on the panel's own canvas.
    shot: what the panel shows.
    inset: pixels at the left and right that are kept free of lettering.
    size: of the lettering, in pixels.
    rng: chooses the details.
    """
    height, width = pen.canvas.shape[:2]
    figures = _marks(shot, width, height, rng)
    _backdrop(replace(pen, line=pen.line * 0.75), shot, figures, rng)
    spoken = [LINES[shot.cast[i] - 1][line] for i, line in zip(shot.speakers, shot.lines, strict=True)]
    moods = dict(zip(shot.speakers, (mood for mood, _, _ in spoken), strict=True))
    for i, figure in enumerate(figures):
        pose = _pose(moods.get(i, str(rng.choice(MOODS))), rng)
        draw_figure(pen, figure, pose)
    inner = replace(pen, canvas=pen.canvas[:, inset : max(width - inset, inset + 1)])
    taken = [(a - inset, b, c - inset, d) for figure in figures for a, b, c, d in figure.boxes]
    lettered: list[Box] = []
    if shot.caption:
        text = str(rng.choice(CAPTIONS[shot.scene]))
        lettered.append(caption(inner, text, size * 0.92, str(rng.choice(["top left", "top right"])), rng))
    for i, (_, kind, text) in zip(shot.speakers, spoken, strict=True):
        head = figures[i].head
        speaker = replace(head, x=head.x - inset)
        # The first line is always said, over the caption if there is no other room.
        others = () if i == shot.speakers[0] else tuple(lettered)
        box = bubble(inner, text, size, speaker, [*taken, *lettered * 3], rng, kind=kind, lettered=others)
        lettered += [box] if box else []
    if shot.sound:
        _sound(inner, taken, lettered, size, rng)


def draw_figure(pen: Pen, figure: Figure, pose: Pose) -> None:
    """Draw one of the cast on their mark, small ones with a finer line.

    pen: on the panel's own canvas.
    figure: who, and where.
    pose: how they stand.
    """
    weight = float(np.clip((figure.scale / (95 * pen.line)) ** 0.6, 0.45, 1.25))
    own = replace(pen, line=pen.line * weight)
    draw_character(own.placed(figure.x, figure.y, figure.scale, flip=figure.flip), figure.who, pose)


def _backdrop(pen: Pen, shot: Shot, figures: list[Figure], rng: Rng) -> None:
    height, width = pen.canvas.shape[:2]
    frame, wide = pen.placed(0, 0, height), width / height
    tint = _TINTS[int(rng.integers(len(_TINTS)))]
    if shot.backdrop == "burst":
        focus = figures[0].head
        draw_burst(frame, wide, (focus.x / height, focus.y / height), tint, rng)
    elif shot.backdrop == "dash":
        draw_dash(frame, wide, tint, rng)
    else:
        zoom = {"far": 1.0, "full": 1.1, "medium": 1.3, "close": 1.7}[shot.framing]
        shift = (zoom - 1) * height
        draw_scene(pen.placed(-shift * wide * 0.5, -shift * 0.5, height * zoom), shot.scene, wide, rng)


def _marks(shot: Shot, width: int, height: int, rng: Rng) -> list[Figure]:
    """Return where the cast stands.

    They stand side by side, facing each other, under the room that lettering needs.
    """
    count = len(shot.cast)
    share = width / max(count, 1)
    fit = share / (0.46 if shot.framing == "close" else 0.62)
    wanted = {"far": 0.42, "full": 0.58, "medium": 0.92, "close": 1.35}[shot.framing] * height
    scale = min(wanted, fit * 1.05)
    figures = []
    spread = (np.arange(count) + 0.5) / max(count, 1)
    middle = 0.5 if count > 1 or width < 1.1 * height else float(rng.choice([0.27, 0.73]))
    for i, who in enumerate(shot.cast):
        body = CAST[who - 1]
        at = middle if count == 1 else float(spread[i]) + float(rng.uniform(-0.03, 0.03))
        if shot.framing in ("far", "full"):
            feet = height * float(rng.uniform(0.92, 0.96))
            own = min(scale, (feet - _HEADROOM[shot.framing] * height) / 1.15)
        else:
            own = scale
            feet = height * _HEADROOM[shot.framing] + 1.15 * own
            feet = min(feet, height * 0.74 - body.head[0] * own)
            feet = max(feet, height * (0.58 if shot.framing == "close" else 0.5) - body.head[0] * own, height * 0.97)
        facing_left = at > 0.5 if count > 1 or middle != 0.5 else bool(rng.random() < 0.5)
        figures.append(Figure(who, at * width, feet, own, facing_left))
    return figures


def _pose(mood: str, rng: Rng) -> Pose:
    raised = 150.0 if mood in ("shout", "wow") else 95.0 if mood in ("happy", "wink") else 25.0
    arms = (float(raised + rng.uniform(-25, 25)), float(rng.choice([15.0, 40.0, raised])))
    return Pose(mood, arms, float(rng.uniform(-1, 1)), float(rng.uniform(-9, 9)))


def _sound(pen: Pen, taken: list[Box], lettered: list[Box], size: float, rng: Rng) -> None:
    """Letter a sound effect where it hides least; none where it would hide lettering."""
    height, width = pen.canvas.shape[:2]
    word = str(rng.choice(SOUNDS))
    big = min(size * 2.6, width / (0.95 * len(word)), height * 0.3)
    half = big * 0.36 * len(word)
    middles = [(x, y) for x in (half, width / 2, width - half) for y in (big, height / 2, height - big * 0.9)]

    def hidden(middle: tuple[float, float], boxes: list[Box]) -> float:
        x, y = middle
        wide = [min(x + half, c) - max(x - half, a) for a, _, c, _ in boxes]
        high = [min(y + big / 2, d) - max(y - big / 2, b) for _, b, _, d in boxes]
        return sum(max(w, 0) * max(h, 0) for w, h in zip(wide, high, strict=True))

    middles = [middle for middle in middles if not hidden(middle, lettered)]
    if not middles:
        return
    x, y = min(middles, key=lambda middle: hidden(middle, taken))
    sound(pen, word, big, x, y, float(rng.uniform(-14, 14)), rng)
