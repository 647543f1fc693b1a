"""Turn the published weights of a public code into a model folder of ours.

python jobs/import_weights.py --from pix2pix --weights latest_net_G.pth --out RUN/model
"""

from jobs.parts.import_weights.config import ImportConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: ImportConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting by OpenCV and the rest.
    from datasets.storage import open_storage
    from jobs.parts.import_weights.importer import (
        claim_folder,
        import_weights,
        publish_imported,
        read_images,
        read_weights,
        run_raw,
    )

    weights = read_weights(config.weights)
    network = import_weights(config, weights)
    folder = open_storage(config.out)
    claim_folder(folder, config, weights)
    if config.run:
        run_raw(network, read_images(config.run), config)
    publish_imported(folder, config, network, weights)
    return Exit.DONE


cli = command(ImportConfig, main)

if __name__ == "__main__":
    cli()
