"""Colour chapter archives, and write coloured chapter archives and a report.

python jobs/colorize.py --model RUN/model --source URI --out URI
"""

from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: ColorizeConfig) -> Exit:
    # Imported here, so that --help, a wrong option and a job with nothing to do are not kept waiting by Ray.
    from jobs.parts.colorize.conclude import conclude
    from jobs.parts.colorize.plan import plan
    from jobs.parts.colorize.settings import JobSettings
    from jobs.parts.ledger.ledger import Ledger

    settings = JobSettings.of(config)
    ledger = Ledger(config.out, settings.fingerprint, settings.pages.palette)
    state = plan(config.source, ledger, settings, replace=config.replace)
    if state.tasks:
        from jobs.parts.colorize.pipeline import color
        from jobs.parts.runtime.cluster import connect

        color(state, settings, connect())
    return conclude(state, ledger, settings)


cli = command(ColorizeConfig, main)

if __name__ == "__main__":
    cli()
