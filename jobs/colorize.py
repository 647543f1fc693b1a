"""Colour chapter archives, and write coloured chapter archives and a report.

python jobs/colorize.py --source URI --out URI [--model RUN/model]
"""

from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: ColorizeConfig) -> Exit:
    # Imported here, so that --help and a wrong option are not kept waiting.
    from jobs.parts.colorize.conclude import conclude
    from jobs.parts.colorize.plan import plan
    from jobs.parts.colorize.run import color
    from jobs.parts.colorize.settings import JobSettings
    from jobs.parts.ledger.ledger import Ledger

    settings = JobSettings.of(config)
    ledger = Ledger(config.out, settings.fingerprint, settings.pages.palette)
    state = plan(config.source, ledger, settings, replace=config.replace)
    if state.tasks:
        color(state, ledger, settings)
    return conclude(state, ledger, settings)


cli = command(ColorizeConfig, main)

if __name__ == "__main__":
    cli()
