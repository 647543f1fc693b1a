"""Read chapters, and write them as Parquet page shards.

python jobs/ingest.py --color URI [--gray URI] --out SHARDS
"""

from jobs.parts.ingest.config import IngestConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: IngestConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting by Ray.
    from datasets.storage import open_storage
    from jobs.parts.ingest.shards import already_done, plan, publish_card, take_up, write_all
    from jobs.parts.runtime.cluster import connect

    out = open_storage(config.out)
    chapters = plan(config)
    if (finished := already_done(out, config, chapters)) is not None:
        return finished
    earlier = take_up(out, config)
    connect()
    return publish_card(out, config, chapters, write_all(chapters, config.out, earlier))


cli = command(IngestConfig, main)

if __name__ == "__main__":
    cli()
