"""Turns the command line's choices for a variant into the variant's own config."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from datasets.errors import BadUsageError
from models import VARIANTS, VariantConfig

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def variant_config(
    variant: str, given: Mapping[str, Any], settings: Sequence[str], start: Mapping[str, Any] | None = None
) -> VariantConfig:
    """The config of `variant`, with its own defaults where nothing is chosen.

    given: options of the command line by the name of their field; None where not given.
    settings: texts of the form NAME=VALUE.
    start: the config of the model that the training starts from, which takes the place of the defaults.
    Raises BadUsageError naming an option that the variant does not have, or a value that it refuses.
    """
    config_type = VARIANTS[variant].config_type
    hints = get_type_hints(config_type)
    own = {field.name: hints[field.name] for field in fields(config_type)}
    chosen = {name: value for name, value in given.items() if value is not None}
    flags = {name: flag_of(name) for name in given}
    if foreign := [flags[name] for name in chosen if name not in own]:
        raise BadUsageError(f"{foreign[0]} is no option of {variant}; leave it out")
    for word in settings:
        name, equals, text = word.partition("=")
        if not equals or name not in own:
            others = ", ".join(sorted(own.keys() - given.keys())) or "none"
            raise BadUsageError(f"--setting {word!r}: give NAME=VALUE; the settings of {variant} are: {others}")
        if name in flags:
            raise BadUsageError(f"--setting {word!r}: {name} has an option of its own, {flags[name]}")
        chosen[name] = _parse(word, text, own[name])
    before = {name: value for name, value in (start or {}).items() if name in own}
    try:
        return config_type(**{**before, **chosen})
    except ValueError as error:
        name, _, problem = str(error).partition(" ")  # a config's errors begin with the field's name
        raise BadUsageError(f"{flags.get(name, f'--setting {name}')} {problem}") from error


def flag_of(option: str) -> str:
    """The option of the command line for a field of this name."""
    return f"--{option.replace('_', '-')}"


def default_of(option: str) -> str:
    """The defaults of an option, for --help: "[default: 256; colornet 224]"."""
    values: dict[Any, list[str]] = {}
    for name, variant in VARIANTS.items():
        for field in fields(variant.config_type):
            if field.name == option and field.default is not None:
                values.setdefault(field.default, []).append(name)
    common = max(values, key=lambda value: len(values[value]))
    others = [f"{', '.join(names)} {value}" for value, names in values.items() if value != common]
    return f"[default: {'; '.join([str(common), *others])}]"


def settings_of_all(given: Sequence[str]) -> str:
    """The settings that variants have beside the options in `given`, with their defaults, for --help."""
    texts = []
    for name, variant in VARIANTS.items():
        own = [f"{field.name}={field.default}" for field in fields(variant.config_type) if field.name not in given]
        if own:
            texts.append(f"{name}: {', '.join(own)}")
    return "; ".join(texts)


def _parse(word: str, text: str, wanted: Any) -> Any:
    try:
        return _BOOLEANS[text.lower()] if wanted is bool else wanted(text)
    except (KeyError, ValueError) as error:
        raise BadUsageError(f"--setting {word!r}: {text!r} is no {wanted.__name__}") from error
