"""--cast: colours that have a name, such as "hair of Aiko". Hints give the name in the place of a colour.

So one edit changes all hints that give it, and no other page. The file is CSV with a header; a colour is #rrggbb, or a
CSS colour name:

    name,colour
    hair of Aiko,#7a3b20
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import ImageColor

from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.names import composed
from datasets.storage import Storage
from imaging.color import to_lab
from jobs.parts.colorize.csv_rows import rows_of
from jobs.parts.ledger.ledger import CAST
from jobs.parts.runtime.options import read_given

COLUMNS = ("name", "colour")
_LONGEST = 80  # characters of a name
_UNPRINTABLE = {"Cc", "Cs"}  # control characters, halves of surrogate pairs


@dataclass(frozen=True)
class Cast:
    """The colours that have a name.

    colours: by name, composed; each as it is written in the file.
    """

    colours: Mapping[str, str] = field(default_factory=dict)

    def css(self, colour: str) -> str:
        """The colour that a hint gives, as CSS has it: that of the name, or what is given itself."""
        return self.colours.get(folded(colour), colour)

    def ab_of(self, colour: str) -> tuple[float, float]:
        """The ab of the colour that a hint gives. Raises BadUsageError where it is neither a colour nor a name."""
        try:
            return ab_of(self.css(colour))
        except BadUsageError as error:
            names = ", ".join(self.colours) or "it has none"
            raise BadUsageError(f"{error}, or a name of the cast ({names}), or add it to cast.csv") from error


NO_CAST = Cast()


def read_cast(uri: str) -> Cast:
    """Read the file of --cast. Raises BadUsageError naming the line and the value that is wrong."""
    return parse_cast(read_given(uri, "--cast", "a CSV file of name,colour"), f"--cast {uri}")


def kept_cast(out: Storage) -> Cast | None:
    """The cast that an output folder keeps itself, in `_mangahue/cast.csv`; None where it keeps no such file.

    Raises as `read_cast`.
    """
    try:
        return parse_cast(out.read(CAST), f"{out.uri}/{CAST}")
    except ObjectNotFoundError:
        return None


def parse_cast(data: bytes, file: str) -> Cast:
    """As `read_cast`, from the file's bytes. file: what names it in errors."""
    colours: dict[str, str] = {}
    for where, (name, colour) in rows_of(data, COLUMNS, file):
        try:
            if folded(name) in colours:
                raise BadUsageError(f"name is {name!r}, which another line has; give each name once")
            colours[name_of(name)] = colour_of(colour)
        except BadUsageError as error:
            raise BadUsageError(f"{where}: {error}") from error
    return Cast(colours)


def name_of(text: str) -> str:
    """A name of the cast, composed. Raises BadUsageError where the text is none."""
    name = folded(text)
    if not name or len(name) > _LONGEST or any(unicodedata.category(letter) in _UNPRINTABLE for letter in name):
        raise BadUsageError(
            f"name is {text!r}; give 1 to {_LONGEST} letters without control characters, such as hair of Aiko"
        )
    try:
        rgb_of(name)
    except BadUsageError:
        return name
    raise BadUsageError(f"name is {name!r}, which is a colour itself; give another, such as {name} of Aiko")


def folded(text: str) -> str:
    """A name for comparing: composed, and every run of blanks, of whatever script, one plain blank."""
    return " ".join(composed(text).split())


def colour_of(text: str) -> str:
    """A colour of the cast, as it is written. Raises BadUsageError where it is none."""
    rgb_of(text)
    return text


def ab_of(colour: str) -> tuple[float, float]:
    """The ab of a colour as CSS has it. Raises BadUsageError where it is none."""
    _, a, b = to_lab(np.array([[rgb_of(colour)]], np.uint8))[0, 0].tolist()
    return a, b


def rgb_of(colour: str) -> tuple[int, int, int]:
    """The sRGB levels of a colour as CSS has it. Raises BadUsageError where it is none."""
    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
        if not all(0 <= level <= 255 for level in (red, green, blue)):
            raise ValueError(f"levels {red}, {green}, {blue}")
    except ValueError as error:
        raise BadUsageError(f"colour is {colour!r}; give #rrggbb, or a name such as orange") from error
    return red, green, blue
