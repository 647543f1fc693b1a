"""How bad input is treated: the limits of a chapter, and what is done with a damaged one."""

from dataclasses import dataclass, field

from datasets.limits import Limits

# The limits in the text that a quarantined chapter's manifest keeps. Texts of earlier versions must stay comparable.
_DIGESTED_LIMITS = ("unpacked_bytes", "member_bytes", "ratio", "members", "pixels", "seconds")
_MEMORY = "; memory "


@dataclass(frozen=True)
class Policy:
    """How bad input is treated.

    limits: of a chapter.
    strict: quarantine a chapter with a flagged page instead of publishing it.
    salvage: publish what is there of an archive that is cut off.
    keep_format: a PDF becomes a PDF, an EPUB an EPUB.
    memory: a text of what decides how much memory the network has for a page.
    """

    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    salvage: bool = False
    keep_format: bool = False
    memory: str = ""

    def digest(self) -> str:
        """A text of what decides whether a chapter can be read. Under another policy a quarantined chapter is tried
        again.
        """
        limits = ", ".join(f"{name}={getattr(self.limits, name)!r}" for name in _DIGESTED_LIMITS)
        return f"(Limits({limits}), {self.strict!r}, {self.salvage!r})"

    def page_digest(self) -> str:
        """A text of what decides whether a page can be coloured, memory included."""
        return f"{self.digest()}{_MEMORY}{self.memory}"


def parts_of(page_digest: str) -> tuple[str, str]:
    """(Policy.digest, Policy.memory) of the policy of a `page_digest`; "" for memory in those of earlier versions."""
    digest, _, memory = page_digest.partition(_MEMORY)
    return digest, memory
