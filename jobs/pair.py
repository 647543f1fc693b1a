"""Pair colour pictures with the black-and-white pages that they come from, and write page shards.

python jobs/pair.py --gray URI --color URI --out SHARDS [--review URI]
"""

from jobs.parts.pair.config import PairConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: PairConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting.
    from jobs.parts.pair.run import pair

    return pair(config)


cli = command(PairConfig, main)

if __name__ == "__main__":
    cli()
