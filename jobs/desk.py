"""Look at coloured chapters in the browser, and change hints, cast, palette and references by pointer.

python jobs/desk.py --out OUT [--open]
"""

from jobs.parts.desk.config import DeskConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: DeskConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting.
    from jobs.parts.desk.catalogue import open_catalogue
    from jobs.parts.desk.server import serve
    from jobs.parts.desk.static import write_static

    catalogue = open_catalogue(config.out)
    return write_static(catalogue, config.static) if config.static else serve(catalogue, config)


cli = command(DeskConfig, main)

if __name__ == "__main__":
    cli()
