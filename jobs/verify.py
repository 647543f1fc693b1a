"""Coloured chapters -> are they still what was published? Re-reads every byte.

python jobs/verify.py --out URI
"""

from dataclasses import dataclass

from jobs.parts.runtime.cluster import connect
from jobs.parts.runtime.options import command, option
from jobs.parts.runtime.outcome import Exit
from jobs.parts.verifying import check_all, mark, open_published, tell


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Re-read what colorize published and compare it with the manifests; what is damaged is marked, and the next
    colorize does exactly that again."""

    out: str = option("Folder that colorize.py published to.", group="Output", metavar="URI")


def main(config: VerifyConfig) -> Exit:
    published = open_published(config.out)
    findings = check_all(published, connect())
    mark(published, findings)
    return tell(published, findings)


cli = command(VerifyConfig, main)

if __name__ == "__main__":
    cli()
