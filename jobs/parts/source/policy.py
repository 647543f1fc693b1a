"""What becomes of bad input: the limits of a chapter, and what is done with one that is damaged."""

from dataclasses import dataclass, field

from datasets.limits import Limits

# What a quarantined chapter's manifest keeps of the policy: this text is compared with that of earlier versions.
_DIGESTED_LIMITS = ("unpacked_bytes", "member_bytes", "ratio", "members", "pixels", "seconds")


@dataclass(frozen=True)
class Policy:
    """What becomes of bad input.

    strict: a chapter with a flagged page is quarantined instead of published. salvage: of an archive that is cut off,
    what is there is published. keep_format: a PDF becomes a PDF.
    """

    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    salvage: bool = False
    keep_format: bool = False

    def digest(self) -> str:
        """Of what decides whether a chapter can be read: with another, a quarantined one is tried again."""
        limits = ", ".join(f"{name}={getattr(self.limits, name)!r}" for name in _DIGESTED_LIMITS)
        return f"(Limits({limits}), {self.strict!r}, {self.salvage!r})"
