"""All jobs as one command: `mangahue VERB ...` is `python jobs/VERB.py ...`, and so is `python -m jobs VERB ...`."""

from importlib import import_module

import click

VERBS = {
    "ingest": "Pair two editions of a series, and write shards to train on.",
    "pair": "Pair colour pictures with their black-and-white pages, and write shards.",
    "train": "Train a model on shards.",
    "colorize": "Colour chapters, and publish them.",
    "evaluate": "Measure models on held-out pages.",
    "verify": "Read again what was published.",
    "import-weights": "Turn weights of public codes into a model.",
    "desk": "Look at coloured chapters in the browser, and change hints and palette.",
    "demo": "Run the other jobs on a generated series.",
}


class Verbs(click.Group):
    """The jobs by name. Each is imported when it is run: some of them take seconds to load."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the jobs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The job of this name; None for another name."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"jobs.{cmd_name.replace('-', '_')}").cli
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The jobs, a line each, without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


main = Verbs(
    name="mangahue",
    help="Colours manga and comics.",
    options_metavar="",
    subcommand_metavar="VERB [OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"]},
)

if __name__ == "__main__":
    main(prog_name="mangahue")
