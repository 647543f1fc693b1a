"""references.json: coloured pages that were marked as references in the desk, each for some chapters.

    {"references": [{"chapter": "series/ch01.cbz", "page": "003.jpg", "below": "series", "picture": "5f2a...jpeg"}]}

Fields are those of ledger.marks.Mark. Their pictures lie in references/, named by their content: a marked page stays
what it was when it was marked, even where that very page is coloured again. Beside each lies what a network sees of it,
`<picture>-<weights>.safetensors`. S: side of the square the network sees, pixels.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from datasets.errors import BadUsageError, MangahueError, ObjectNotFoundError
from datasets.limits import SLOW
from datasets.page import format_of
from datasets.storage import Storage
from imaging.color import F32, U8
from jobs.parts.colorize import page_steps
from jobs.parts.ledger.ledger import HOME, REFERENCES
from jobs.parts.ledger.marks import ChapterMarks, Mark, as_text
from jobs.parts.runtime.outcome import as_json
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source.policy import Policy

log = logging.getLogger("mangahue")
MOST = 64  # marks of an output folder: every predictor holds what a network sees of them
_PICTURES = f"{HOME}/references"
_READERS = 16
_FIELDS = ("chapter", "page", "below", "picture")


@dataclass(frozen=True)
class Seen:
    """What a network sees of a coloured page.

    gray: (S, S) ink levels.
    chroma: (S, S, 2) ab, float16.
    description: as text.
    least: as of a Mark.
    """

    gray: U8
    chroma: np.ndarray
    description: str
    least: float


@dataclass(frozen=True)
class MarkedPages:
    """The marked pages of a job.

    marks: in the order of the file.
    seen: what the network sees of each, by its picture.
    """

    marks: tuple[Mark, ...]
    seen: dict[str, Seen]

    def of(self, rel: str) -> ChapterMarks:
        """Those that count in a chapter."""
        return ChapterMarks.among(self.marks, rel)


@dataclass(frozen=True)
class Entry:
    """A line of the file: fields as of a Mark."""

    chapter: str
    page: str
    below: str
    picture: str


class References:
    """The marked pages of an output folder, as one network sees them.

    card: of the network.
    policy: limits of a picture.
    """

    def __init__(self, out: Storage, card: dict[str, Any], policy: Policy) -> None:
        self._out, self._policy = out, policy
        self._size, self._weights = int(card["config"]["image_size"]), str(card["weights_sha256"])[:16]

    def entries(self) -> list[Entry]:
        """The lines of the file; none where there is no such file. Raises BadUsageError naming what is wrong."""
        try:
            return _parse(self._out.read(REFERENCES), f"{self._out.uri}/{REFERENCES}")
        except ObjectNotFoundError:
            return []

    def put(self, entries: Sequence[Entry]) -> None:
        """Write the file. Raises BadUsageError where it would be read as wrong."""
        data = as_json({"references": [asdict(entry) for entry in entries]})
        _parse(data, "the desk")
        self._out.put(REFERENCES, data, content_type="application/json")

    def put_picture(self, data: bytes) -> str:
        """Keep a picture. Returns its name."""
        picture = f"{hashlib.sha256(data).hexdigest()[:32]}.{format_of(data)}"
        self._out.put(f"{_PICTURES}/{picture}", data)
        return picture

    def learn(self, data: bytes) -> tuple[U8, F32] | None:
        """Ink (S, S) and chroma (S, S, 2) of a picture; None for one without colour. In this thread's sandbox.

        Raises MangahueError where it can't be read.
        """
        limits = self._policy.limits
        call = (page_steps.learn_from, data, self._size, limits.pixels)
        return sandbox().call(*call, seconds=SLOW * limits.seconds)

    def look(self, picture: str) -> tuple[U8, F32]:
        """As `learn`, of a picture that is kept. Raises BadUsageError where it is missing, can't be read, or has no
        colour.
        """
        where = f"{self._out.uri}/{_PICTURES}/{picture}"
        try:
            found = self.learn(self._out.read(f"{_PICTURES}/{picture}"))
        except ObjectNotFoundError as error:
            raise BadUsageError(f"{REFERENCES} names {where}, which is missing; take the entry out") from error
        except MangahueError as error:
            raise BadUsageError(f"{where}: {error}; take its entry out of {REFERENCES}") from error
        if found is None:
            raise BadUsageError(f"{where} has no colour to follow; take its entry out of {REFERENCES}")
        return found

    def keep(self, picture: str, pair: tuple[U8, F32], description: F32, least: float) -> Seen:
        """Keep what the network sees of a picture, for later runs and other processes.

        pair: of `look`.
        description: (N,).
        """
        seen = Seen(pair[0], pair[1].astype(np.float16), as_text(description), least)
        tensors = {"gray": seen.gray, "chroma": seen.chroma, "least": np.array(least)}
        tensors["description"] = np.frombuffer(seen.description.encode(), np.uint8)
        self._out.put(self._key(picture), safetensors.numpy.save(tensors))
        return seen

    def known(self, pictures: Iterable[str]) -> dict[str, Seen]:
        """What is kept of these pictures; one that is missing or damaged is left out."""
        wanted = list(dict.fromkeys(pictures))
        with ThreadPoolExecutor(_READERS) as readers:
            found = zip(wanted, readers.map(self._kept, wanted), strict=True)
            return {picture: seen for picture, seen in found if seen is not None}

    def _kept(self, picture: str) -> Seen | None:
        try:
            kept = safetensors.numpy.load(self._out.read(self._key(picture)))
            description, least = kept["description"].tobytes().decode(), float(kept["least"])
            shapes = (kept["gray"].shape, kept["chroma"].shape)
        except (ObjectNotFoundError, SafetensorError, KeyError, ValueError, TypeError):
            return None
        size = self._size
        whole = shapes == ((size, size), (size, size, 2))
        return Seen(kept["gray"], kept["chroma"], description, least) if whole else None

    def _key(self, picture: str) -> str:
        return f"{_PICTURES}/{picture}-{self._weights}.safetensors"

    def marked(self, describe: Callable[[], Callable[[U8], tuple[F32, float]]]) -> MarkedPages:
        """The marked pages. Those that this network has not seen are looked at now.

        describe: makes what describes the ink (S, S) of a page: its description (N,), and the network's least likeness.
        """
        entries = self.entries()
        seen = self.known(entry.picture for entry in entries)
        missing = [entry.picture for entry in entries if entry.picture not in seen]
        if missing:
            log.info("%d marked pages are looked at for the first time", len(missing))
            say = describe()
            for picture in dict.fromkeys(missing):
                pair = self.look(picture)
                seen[picture] = self.keep(picture, pair, *say(pair[0]))
        return marked_of(entries, seen)


def marked_of(entries: Sequence[Entry], seen: dict[str, Seen]) -> MarkedPages:
    """The marked pages of a file. seen: all of their pictures."""
    marks = tuple(
        Mark(**asdict(entry), description=seen[entry.picture].description, least=seen[entry.picture].least)
        for entry in entries
    )
    return MarkedPages(marks, seen)


def _parse(data: bytes, uri: str) -> list[Entry]:
    """Raises BadUsageError naming the entry that is wrong."""
    try:
        listed = json.loads(data)["references"]
        entries = [Entry(*(entry[name] for name in _FIELDS)) for entry in listed]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadUsageError(
            f"{uri}: {type(error).__name__}: {error}; it holds a list of references, each with {', '.join(_FIELDS)}"
        ) from error
    for number, entry in enumerate(entries):
        wrong = [name for name in _FIELDS if not isinstance(getattr(entry, name), str)]
        if wrong or not entry.picture or "/" in entry.picture:
            raise BadUsageError(
                f"{uri}, reference {number}: {', '.join(wrong) or 'picture'} is wrong; mark the page in the desk again"
            )
    if len(entries) > MOST:
        raise BadUsageError(f"{uri} has {len(entries)} references; {MOST} at most: take some out")
    return entries
