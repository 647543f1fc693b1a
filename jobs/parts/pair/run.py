"""Takes a pairing job through its steps: look at all pictures, match them, write the shards, ask about doubts."""

from collections.abc import Mapping, Sequence

from datasets.storage import open_storage
from jobs.parts.dataset.written import Written
from jobs.parts.pair.assign import Match, assign
from jobs.parts.pair.config import PairConfig
from jobs.parts.pair.decisions import pair_id, read_decisions
from jobs.parts.pair.match import Edition, Fits, look, match
from jobs.parts.pair.pictures import find_pictures
from jobs.parts.pair.plan import chapter_of, judge, pair_row, plan_rows, shard_tasks
from jobs.parts.pair.publish import check_owner, pair_records, publish, why
from jobs.parts.pair.review import Doubt, publish_review
from jobs.parts.pair.rows import ShardTask, write_rows
from jobs.parts.pair.runners import Runner, make_runner
from jobs.parts.runtime.outcome import Exit
from jobs.parts.runtime.progress import Meter
from jobs.parts.source.failure import Failure
from jobs.parts.source.holdout import held_out

_GROUP = 16  # pictures that are read together


def pair(config: PairConfig) -> Exit:
    """Run the whole job. What an earlier run has found is taken up."""
    out = open_storage(config.out)
    check_owner(out, config)
    decisions = read_decisions(out, config.decisions)
    failures: list[Failure] = []
    groups = {side: find_pictures(getattr(config, side), _GROUP, failures) for side in ("color", "gray")}
    kept = held_out(sorted({chapter_of(group.ref) for group in groups["gray"]}), config.holdout, config.seed)
    with make_runner(config.runner) as runner:
        color, gray = (look(runner, groups[side], config.out, side) for side in ("color", "gray"))
        fits = match(runner, color, gray, config.out, config.accept)
        matches, reasons = assign(fits, color.sizes, gray.sizes, _decided(color, gray, fits, decisions))
        verdict = judge(matches, config.accept, config.reject)
        rows = plan_rows(color, gray, verdict.taken, (config.color, config.gray), kept)
        written = _write(runner, shard_tasks(rows, config.out))
        failures += [*color.failures, *gray.failures]
        if config.review is not None:
            doubts = [_doubt(color, gray, one, config.gray) for one in verdict.doubtful]
            failures += publish_review(runner, config.review, doubts, len(verdict.taken))
    for failure in failures:
        written.fail(failure)
    return publish(out, config, pair_records(color, gray, verdict, matches, reasons), rows, written)


def _decided(color: Edition, gray: Edition, fits: Fits, decisions: Mapping[str, bool]) -> dict[tuple[int, int], bool]:
    """The decisions about pictures and pages that are here, by their numbers."""
    found = {}
    for i, pages in fits.items():
        for j, _ in pages:
            if (pair := decisions.get(pair_id(color.name(i), gray.name(j)))) is not None:
                found[i, j] = pair
    return found


def _write(runner: Runner, tasks: Sequence[ShardTask]) -> Written:
    written = Written()
    with Meter("write", sum(len(task.rows) for task in tasks), unit="pages") as meter:
        for task, part in zip(tasks, runner.map(write_rows, tasks), strict=True):
            written.add(part)
            meter.advance(len(task.rows), len(task.rows))
    return written


def _doubt(color: Edition, gray: Edition, one: Match, root: str) -> Doubt:
    names = color.name(one.color), gray.name(one.gray)
    return Doubt(pair_id(*names), *names, one.confidence, why(one), pair_row(color, gray, one, root, 0))
