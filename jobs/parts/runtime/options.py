"""A job's command line, made from one frozen config class.

Each field of a config is made by `option(...)`. `command` turns the class into a click command, whose --help groups the
options and shows defaults and units. The config checks itself when it is made, and raises BadUsageError.
"""

import dataclasses
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from datasets.errors import BadUsageError, ObjectNotFoundError
from datasets.storage import open_storage, split_uri
from jobs.parts.runtime.outcome import run_job

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config")
Device = Literal["auto", "cpu", "cuda"]
DEVICE_HELP = "auto: GPUs where there are any now; cuda: GPUs; on Ray an autoscaler is asked for them."


def option(
    help_text: str,
    *,
    group: str,
    default: Any = dataclasses.MISSING,
    metavar: str | None = None,
    flag: str | None = None,
) -> Any:
    """A config field that is also a command line option. It is required if it has no default.

    help_text: what --help says.
    group: the section of --help that it is in.
    metavar: the placeholder for its value in --help.
    flag: the option's name where the field can't have it, because it is a keyword of Python.
    """
    metadata = {"help": help_text, "group": group, "metavar": metavar, "flag": flag}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class _GroupedCommand(click.Command):
    """A command whose --help has a section for each group of options."""

    groups: dict[str, list[str]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        grouped = {name for names in self.groups.values() for name in names}
        sections = [*self.groups.items(), ("Other", [p.name for p in self.get_params(ctx) if p.name not in grouped])]
        for title, names in sections:
            records = [param.get_help_record(ctx) for param in self.get_params(ctx) if param.name in names]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


def command(config_type: type[Config], main: Callable[[Config], int]) -> click.Command:
    """The click command of a job. It parses into `config_type`, runs `main`, and exits with the code that `main`
    returns.
    """
    hints = get_type_hints(config_type)
    params: list[click.Parameter] = []
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(config_type):  # type: ignore[arg-type]
        params.append(_click_option(field, hints[field.name]))
        groups.setdefault(field.metadata["group"], []).append(field.name)

    def callback(**values: Any) -> None:
        try:
            config = config_type(**values)
        except BadUsageError as error:
            raise click.UsageError(str(error)) from error
        run_job(config, main)

    made = _GroupedCommand(
        name=main.__module__.rpartition(".")[2],
        callback=callback,
        params=params,
        help=config_type.__doc__,
        context_settings={"show_default": True, "max_content_width": 110, "help_option_names": ["-h", "--help"]},
    )
    made.groups = groups
    return made


def _click_option(field: "dataclasses.Field[Any]", hint: Any) -> click.Option:
    required = field.default is dataclasses.MISSING
    kwargs: dict[str, Any] = {"help": field.metadata["help"], "required": required}
    if not required:
        kwargs["default"] = field.default
    if field.metadata["metavar"]:
        kwargs["metavar"] = field.metadata["metavar"]
    if get_origin(hint) in (types.UnionType, Union):
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if hint is bool:
        kwargs["is_flag"] = True
    elif get_origin(hint) is tuple:
        kwargs.update(multiple=True, type=get_args(hint)[0])
    elif get_origin(hint) is Literal:
        kwargs["type"] = click.Choice(get_args(hint))
    else:
        kwargs["type"] = hint
    flag = field.metadata["flag"] or field.name.replace("_", "-")
    return click.Option([f"--{flag}", field.name], **kwargs)


def require(condition: bool, name: str, value: object, fix: str) -> None:
    """Raise BadUsageError unless `condition` holds.

    name: the field; the error names its option.
    value: what was given.
    fix: what to give instead.
    """
    if not condition:
        raise BadUsageError(f"--{name.replace('_', '-')} is {value!r}; {fix}")


def actor_count(text: str) -> int:
    """Parse --num-actors: "3" -> 3, "auto" -> 0. Raises BadUsageError for anything else."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise BadUsageError(f"--num-actors is {text!r}; give a count, or auto")
    return int(text)


def check_actors(text: str, runner: str) -> None:
    """Raises BadUsageError where --num-actors is wrong, or given though --runner local has one network."""
    require(not (actor_count(text) and runner == "local"), "num_actors", text,
            "--runner local has one network; leave it out, or take --runner ray")  # fmt: skip


def worker_range(text: str) -> tuple[int, int]:
    """Parse --num-workers to (least, most): "2" -> (2, 2), "1:4" -> (1, 4), "0" -> (0, 0), which means automatic.

    Raises BadUsageError for anything else.
    """
    least, colon, most = text.partition(":")
    try:
        bounds = int(least), int(most if colon else least)
    except ValueError:
        bounds = (-1, -1)
    if not 0 <= bounds[0] <= bounds[1] or (colon and not bounds[0]):
        raise BadUsageError(f"--num-workers is {text!r}; give a count, 0 for automatic, or LEAST:MOST such as 1:4")
    return bounds


def read_given(uri: str, flag: str, wanted: str) -> bytes:
    """Read the file that an option names.

    flag: the option.
    wanted: what the file should be.
    Raises BadUsageError, naming both, where the file does not exist.
    """
    folder, name = split_uri(uri)
    try:
        return open_storage(folder).read(name)
    except ObjectNotFoundError as error:
        raise BadUsageError(f"{flag} {uri}: {error}; give {wanted}") from error


def as_settings(config: "DataclassInstance") -> dict[str, Any]:
    """A config as plain JSON values, for logs and for files beside the output."""
    return dataclasses.asdict(config)
