"""The pictures of both editions, chapter by chapter, before they are opened."""

import hashlib
import json
from dataclasses import asdict, dataclass

from datasets.archive import ChapterRef, find_chapters
from datasets.chapters import Member
from datasets.errors import BadUsageError, MangahueError
from jobs.parts.runtime.sandbox import sandbox
from jobs.parts.source import reader
from jobs.parts.source.failure import Failure
from jobs.parts.source.policy import Policy

POLICY = Policy()


@dataclass(frozen=True)
class PictureGroup:
    """Pictures of one chapter that are read together.

    first: the index of the first of them among the chapter's pictures.
    """

    ref: ChapterRef
    members: tuple[Member, ...]
    first: int

    def digest(self, made: str) -> str:
        """A name for what is made of the group: it changes with the chapter's content, and with `made`."""
        return digest_of([made, asdict(self.ref), [asdict(member) for member in self.members]])

    def name(self, number: int) -> str:
        """What a picture of the group is called: the chapter's name and its own."""
        return f"{self.ref.rel}/{self.members[number].name}"


def digest_of(values: object) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:20]


def find_pictures(uri: str, most: int, failures: list[Failure]) -> list[PictureGroup]:
    """All pictures below `uri`, in the order of chapters by name, then of pages.

    most: pictures in a group.
    failures: what could not be read is added.
    Raises BadUsageError where there is no chapter.
    """
    refs = find_chapters(uri, lambda ref, error: failures.append(Failure.of(ref.uri, error)))
    groups = []
    for ref in sorted(refs, key=lambda ref: ref.rel):
        try:
            pages = sandbox().call(reader.look_inside, ref, POLICY, seconds=POLICY.limits.seconds).pages
        except MangahueError as error:
            failures.append(Failure.of(ref.uri, error, fetching=True))
            continue
        groups += [PictureGroup(ref, tuple(pages[i : i + most]), i) for i in range(0, len(pages), most)]
    if not groups and not failures:
        raise BadUsageError(f"no chapter in {uri}: no archive, and no folder with images")
    return groups


def fetched(ref: ChapterRef, member: Member) -> bytes:
    """A member's bytes. Raises MangahueError where they can't be had whole."""
    found = sandbox().call(reader.fetch, ref, POLICY, member, seconds=POLICY.limits.seconds)
    if found.error is not None:
        raise found.error
    return found.data
