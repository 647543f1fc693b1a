"""Chapter archives -> coloured chapter archives, and a report.

python jobs/colorize.py --model RUN/model --source URI --out URI
"""

from jobs.parts.coloring import color
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.planning import plan
from jobs.parts.recipe import Recipe
from jobs.parts.runtime.cluster import connect
from jobs.parts.runtime.options import command
from jobs.parts.runtime.outcome import Exit
from jobs.parts.summary import conclude


def main(config: ColorizeConfig) -> Exit:
    recipe = Recipe.of(config)
    ledger = Ledger(config.out, recipe.fingerprint, recipe.style.palette)
    work = plan(config.source, ledger, recipe, replace=config.replace)
    if work.todo:
        color(work, recipe, connect())
    return conclude(work, ledger, recipe)


cli = command(ColorizeConfig, main)

if __name__ == "__main__":
    cli()
