"""The encoding of members' names, where an archive does not tell it: decided once, over all of its names."""

import re
from collections.abc import Sequence
from string import ascii_letters

import chardet

_WIDE = {"cp932": "Shift-JIS", "cp949": "EUC-KR", "gb18030": "GBK", "big5hkscs": "Big5"}  # Python's names, people's
_UNSURE = "cp437"  # what a ZIP's names are in where nothing is told (APPNOTE.TXT, appendix D)
_SHOWN = 20_000  # bytes of names that the detector is shown
_NO_LETTERS = re.compile(rb"[\x00-\x3f]+")  # digits, dots and slashes, that no letter of two bytes has
_RUN = re.compile(r"[A-Za-z]?[^\x00-\x7f]+[A-Za-z]?")


def decode_names(raw: Sequence[bytes]) -> tuple[list[str], str]:
    """Decode all names of one archive in one encoding, and return them with a warning; "" where there is no doubt.

    It is UTF-8 where all names are that. Else a detector chooses among Shift-JIS, EUC-KR, GBK and Big5. Where it is not
    sure, it is code page 437.
    """
    try:
        return [name.decode() for name in raw], ""
    except UnicodeDecodeError:
        pass
    codec = _detected(raw)
    try:
        names = [name.decode(codec) for name in raw]
        if codec in _WIDE and not _is_latin(names):
            return names, f"names are in an encoding that the archive does not tell: read as {_WIDE[codec]}"
    except UnicodeDecodeError:
        pass
    unsure = "names are in an encoding that the archive does not tell, and that is not sure: read as code page 437"
    return [name.decode(_UNSURE) for name in raw], unsure


def _detected(raw: Sequence[bytes]) -> str:
    """Return what the detector says of what is not ASCII: among numbers and extensions it is not sure."""
    parts = (part for name in raw for part in _NO_LETTERS.split(name) if not part.isascii())
    shown = b"\n".join(dict.fromkeys(parts))
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN].rpartition(b"\n")[0]
    choice = [*_WIDE, _UNSURE]
    found = chardet.detect(shown, include_encodings=choice, no_match_encoding=_UNSURE, compat_names=False)
    return found["encoding"] or _UNSURE


def _is_latin(names: Sequence[str]) -> bool:
    """Return whether names are rather words with accents: each wide letter stands alone, and touches a Latin one.

    Two bytes such as those of 'ño' are a letter in most wide encodings.
    """
    runs = [run for name in names for run in _RUN.findall(name)]
    return all(len(run.strip(ascii_letters)) == 1 < len(run) for run in runs)
