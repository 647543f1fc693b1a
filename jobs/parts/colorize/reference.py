"""Coloured pages as a reference. The driver reads them once; each predictor makes a `Reference` with its own network.

S: side of the square the network sees, pixels.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

import models
from datasets.archive import ChapterRef, find_chapters
from datasets.chapters import Member
from datasets.errors import BadUsageError, MangahueError, ObjectNotFoundError
from datasets.limits import SLOW
from datasets.storage import open_storage
from imaging.color import F32, U8
from imaging.palette import Palette, build_palette
from imaging.reference import Reference, ReferencePage, build_reference
from jobs.parts.colorize import page_steps
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.ledger.ledger import PALETTE
from jobs.parts.report.render import counted
from jobs.parts.runtime.options import read_given
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.policy import Policy

log = logging.getLogger("mangahue")
_MOST_CORRECTING = 16  # pages that correct a network which follows none: more teach no more
_MOST_FOLLOWED = 64  # pages among which a network that follows some finds those like a page; each predictor sees them
_MOST_LOOKED = 1024  # pages that are looked at, to find these
_NAMED = 8  # pages that the log names


@dataclass(frozen=True)
class ReferencePages:
    """N reference pages.

    grays: (N, S, S) ink levels.
    chromas: (N, S, S, 2) ab.
    pages: the name of each page.
    """

    grays: U8
    chromas: NDArray[np.floating]
    pages: tuple[str, ...] = field(default_factory=tuple)

    def digest(self) -> str:
        """A digest in hex of what is learned from the pages. Other pages make another job."""
        return hashlib.sha256(self.grays.tobytes() + self.chromas.astype(np.float16).tobytes()).hexdigest()[:16]

    def halved(self) -> "ReferencePages":
        """The pages with ab in float16: the smallest to send to each predictor."""
        return replace(self, chromas=self.chromas.astype(np.float16))

    def reference(self, variant: "models.Variant") -> Reference | None:
        """What these pages show of this network's errors.

        A network that follows reference pages itself is given them, and None is returned.
        """
        from jobs.parts.model.inference import follow, predict_chroma  # torch, which the driver is spared

        if variant.follows:
            follow(variant, self.grays, self.chromas)
            return None
        predicted = predict_chroma(variant, self.grays)
        together = zip(self.grays, self.chromas.astype(np.float32), predicted, strict=True)
        return build_reference([ReferencePage(gray, chroma, says) for gray, chroma, says in together])


def read_palette(config: ColorizeConfig, reference_pages: ReferencePages | None) -> Palette | None:
    """The palette that --palette asks for; None for "off".

    For "auto" it has the colours of the reference pages. A palette.json in the output that was edited by hand is taken
    instead, unless --replace is given. Otherwise --palette is the URI of a palette.json.
    Raises BadUsageError where "auto" has no reference pages, where the file is missing or wrong, or where the edited
    palette.json has other colours than the reference, not other `ab` alone.
    """
    choice = config.palette
    if choice == "off":
        return None
    if choice != "auto":
        return _parsed(
            choice, read_given(choice, "--palette", "a palette.json, such as a job leaves in OUT/_mangahue/")
        )
    if reference_pages is None:
        raise BadUsageError("--palette auto takes the colours of --reference: give that too, or a palette.json")
    built = build_palette(list(zip(reference_pages.grays, reference_pages.chromas, strict=True)))
    try:
        kept = open_storage(config.out).read(PALETTE)
    except ObjectNotFoundError:
        return built
    edited_file = f"{config.out}/{PALETTE}"
    edited = None if config.replace else _parsed(edited_file, kept)
    if edited is None or [color.centre for color in edited.colors] == [color.centre for color in built.colors]:
        return edited or built
    raise BadUsageError(
        f"--palette auto: {edited_file} has other colours than --reference gives, not other `ab` alone; give it as "
        "--palette, or --replace to begin again with those of --reference"
    )


def _parsed(uri: str, data: bytes) -> Palette:
    try:
        return Palette.from_dict(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadUsageError(f"--palette {uri}: {error}; correct the file, or take another") from error


def read_reference_pages(uri: str, image_size: int, policy: Policy, *, follows: bool) -> ReferencePages:
    """Read the pages that --reference names: coloured pages, spread over the chapters at `uri`.

    image_size: S.
    follows: whether they are for a network that looks at them: then 64 at most, spread over each chapter too, of which
        each page is shown those that are like it. Otherwise 16 at most, among the first 16 of each chapter.
    Raises BadUsageError where there is no coloured page among those that were looked at.
    """
    refs = list(find_chapters(uri, lambda ref, error: log.warning("--reference: %s: %s", ref.rel, error)))
    most = _MOST_FOLLOWED if follows else _MOST_CORRECTING
    if follows and len(refs) > most:
        log.info("--reference: %d of %d chapters are looked at", most, len(refs))
        refs = [refs[number * len(refs) // most] for number in range(most)]
    chapters: dict[int, list[Member]] = {}
    found: list[_Found] = []
    looked = 0
    for number, member in islice(_in_turn(refs, chapters, policy, spread=follows), _MOST_LOOKED):
        looked += 1
        found += _reference_page(refs[number], number, member, image_size, policy)
        if len(found) == most:
            break
    pages = sum(map(len, chapters.values()))
    if not found:
        raise BadUsageError(
            f"--reference {uri} holds no page in colour among the {looked} of {pages} that were looked at; give a "
            "chapter, or a folder of them, with some"
        )
    found.sort(key=lambda page: (page.index, page.chapter))
    names = [page.name for page in found]
    there = counted(pages, "page")
    log.info("%s as reference, of %s there: %s", counted(len(found), "coloured page"), there, _listed(names))
    grays, chromas = np.stack([page.gray for page in found]), np.stack([page.chroma for page in found])
    return ReferencePages(grays, chromas, tuple(names))


@dataclass(frozen=True)
class _Found:
    """A coloured page at the network's size.

    index: in its chapter.
    chapter: the number of that.
    """

    index: int
    chapter: int
    name: str
    gray: U8
    chroma: F32


def _in_turn(
    refs: Sequence[ChapterRef], chapters: dict[int, list[Member]], policy: Policy, *, spread: bool
) -> Iterator[tuple[int, Member]]:
    """A page of each chapter, then the next of each: with the chapter's number.

    chapters: gets the pages of each chapter, when its turn comes first: none is looked into before.
    spread: as `_spread` has a chapter's pages; else its first 16 alone, in their order.
    """
    for turn in count():
        for number, ref in enumerate(refs):
            if number not in chapters:
                pages = _pages_of(ref, policy)
                chapters[number] = _spread(pages) if spread else pages[:_MOST_CORRECTING]
            if turn < len(chapters[number]):
                yield number, chapters[number][turn]
        if turn >= max(map(len, chapters.values()), default=0):
            return


def _spread(members: list[Member]) -> list[Member]:
    """A chapter's pages so that the first few lie all over it: by the binary digits of their numbers, reversed."""
    digits = max(1, len(members) - 1).bit_length()
    order = sorted(range(len(members)), key=lambda number: int(f"{number:0{digits}b}"[::-1], 2))
    return [members[number] for number in order]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _pages_of(ref: ChapterRef, policy: Policy) -> list[Member]:
    """The pages of a chapter in their order; none where it can't be read."""
    try:
        return sandbox().call(reader.look_inside, ref, policy, seconds=SLOW * policy.limits.seconds).pages
    except MangahueError as error:
        log.warning("--reference: %s: %s", ref.rel, error)
        return []


def _reference_page(ref: ChapterRef, number: int, member: Member, image_size: int, policy: Policy) -> list[_Found]:
    """The page, if it has colour. number: of its chapter."""
    seconds, index = SLOW * policy.limits.seconds, member.index or 0
    try:
        data = sandbox().call(reader.fetch, ref, policy, member, seconds=seconds).data
        pair = sandbox().call(page_steps.learn_from, data, image_size, policy.limits.pixels, seconds=seconds)
    except MangahueError as error:
        log.warning("--reference: %s, page %d: %s", ref.rel, index + 1, error)
        return []
    return [] if pair is None else [_Found(index, number, f"{ref.rel}/{member.name}", *pair)]
