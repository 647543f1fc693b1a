"""Chapter archives -> coloured chapter archives, and a report.

python jobs/colorize.py --model RUN/model --source URI --out URI
"""

from jobs.parts.colorize.conclude import conclude
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.pipeline import color
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.settings import Recipe
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.runtime.cluster import connect
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit


def main(config: ColorizeConfig) -> Exit:
    recipe = Recipe.of(config)
    ledger = Ledger(config.out, recipe.fingerprint, recipe.pages.palette)
    state = plan(config.source, ledger, recipe, replace=config.replace)
    if state.tasks:
        color(state, recipe, connect())
    return conclude(state, ledger, recipe)


cli = command(ColorizeConfig, main)

if __name__ == "__main__":
    cli()
