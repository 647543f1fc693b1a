"""Train a network on page shards, and publish its model folder.

python jobs/train.py --data SHARDS --run URI
"""

from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit
from jobs.parts.train.config import TrainConfig


def main(config: TrainConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting by Ray.
    from datasets.shards import ShardSet
    from datasets.storage import open_storage
    from jobs.parts.runtime.cluster import connect
    from jobs.parts.train.initial_weights import check_initial_weights
    from jobs.parts.train.mlflow_log import check_tracking, track
    from jobs.parts.train.run_folder import already_trained, claim_run, publish_model
    from jobs.parts.train.trainer import fit

    check_tracking(config)
    origin = check_initial_weights(config)
    shards = ShardSet.open(config.data)
    run = open_storage(config.run)
    claim_run(run, config, shards, origin)
    if already_trained(run, config):
        return Exit.DONE
    cluster = connect(state_api=True)
    result = fit(config, shards, origin, cluster)
    publish_model(run, config, shards, origin, result)
    track(run, config)
    return Exit.DONE


cli = command(TrainConfig, main)

if __name__ == "__main__":
    cli()
