"""What a run does with a chapter, decided from its source and its manifest alone.

A pure function: planning asks it for every chapter, and a worker asks it again when it opens one.
"""

from enum import Enum

from datasets.archive import ChapterRef
from datasets.errors import Code
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.ledger.manifest import Manifest, PageRecord
from jobs.parts.ledger.marks import NO_MARKS, ChapterMarks
from jobs.parts.source.policy import Policy, parts_of

_OF_POLICY = {Code.PIXELS, Code.LIMIT, Code.TIMEOUT, Code.MEMORY}  # another policy may do better with such a page


class Decision(Enum):
    """What is done with a chapter.

    DONE: nothing, its manifest holds.
    COLOUR: it is coloured, over what the manifest says is in the output.
    COLLISION: nothing, its output is that of another source.
    """

    DONE = "done"
    COLOUR = "colour"
    COLLISION = "collision"


def decide(
    ref: ChapterRef,
    manifest: Manifest | None,
    ledger: Ledger,
    policy: Policy,
    hints: str = "",
    marks: ChapterMarks = NO_MARKS,
    *,
    replace: bool = False,
) -> Decision:
    """Decide about one chapter.

    ref: the chapter in the source, in its present version.
    manifest: the one of its name, whole or a summary; None where there is none.
    ledger: whose weights, settings and palette are the present ones.
    policy: the present one.
    hints: digest of the chapter's present hints.
    marks: the present marks that count in the chapter.
    replace: whether the output of another source may be replaced.
    """
    if manifest is None:
        return Decision.COLOUR
    if is_of_another(manifest, ref) and not replace:
        return Decision.COLLISION
    again = any(is_of_another_policy(page, manifest, policy) for page in manifest.pages)
    done = ledger.covers(manifest, ref, policy.digest(), hints, marks) and not again
    return Decision.DONE if done else Decision.COLOUR


def is_of_another(manifest: Manifest, ref: ChapterRef) -> bool:
    """Whether what a manifest says is in the output was made of a chapter of another source.

    A library that has moved keeps its versions. A manifest that was damaged names no source, and is taken for this
    one's.
    """
    left = manifest.left
    if left is None or left.source in ("", ref.uri):
        return False
    moved = ref.version == left.version or (manifest.source, manifest.version) == (left.source, ref.version)
    return not moved


def hangs_on_policy(page: PageRecord) -> bool:
    """Whether a page was flagged for a limit or for want of memory, so that another policy may do better."""
    return page.action == "flagged" and page.code in _OF_POLICY


def is_of_another_policy(page: PageRecord, manifest: Manifest, policy: Policy) -> bool:
    """Whether a page was flagged for a limit or for want of memory under another policy than the present one.

    Manifests without a policy, or without memory in it, are of earlier versions: their pages stay.
    """
    limits, memory = parts_of(manifest.policy)
    before, now = (memory, policy.memory) if page.code == Code.MEMORY else (limits, policy.digest())
    return hangs_on_policy(page) and before not in ("", now)
