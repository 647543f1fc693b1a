"""Measure models on held-out pages, and write the report.

python jobs/evaluate.py --data SHARDS --out URI [--model RUN/model]
"""

from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: EvaluateConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting.
    from datasets.shards import ShardSet
    from datasets.storage import open_storage
    from jobs.parts.evaluate.candidates import find_candidates, require_holdout
    from jobs.parts.evaluate.measure import measure_pages
    from jobs.parts.evaluate.results import publish

    shards = ShardSet.open(config.data)
    require_holdout(shards)
    candidates = find_candidates(config.model)
    pages = measure_pages(config, shards, candidates)
    return publish(open_storage(config.out), config, candidates, pages)


cli = command(EvaluateConfig, main)

if __name__ == "__main__":
    cli()
