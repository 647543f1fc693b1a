"""One word for one thing: no identifier uses a word that was given up."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.parts.runtime import ROOT

PACKAGES = ("jobs", "models", "imaging", "datasets", "benchmarks", "pretraining")
WORDS = tomllib.loads((ROOT / "tests/retired_words.toml").read_text())


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Names that a module defines, imports, or reads."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)):
                yield name


def retired(identifier: str) -> set[str]:
    """The retired words in an identifier, written with underscores or capitals, one or many."""
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)]
    return {word for part in parts for word in (part, part.removesuffix("s")) if word in WORDS["retired"]}


def found(path: Path) -> set[str]:
    names = set(identifiers(ast.parse(path.read_text()))) | {path.stem}
    return {name for name in names if retired(name)}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_identifier_uses_a_retired_word(package: str) -> None:
    wrong = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        left = found(path) - set(WORDS["exceptions"].get(name, []))
        wrong |= {f"{name}: {each}": [WORDS["retired"][word] for word in retired(each)] for each in sorted(left)}
    assert wrong == {}


@pytest.mark.parametrize("name", WORDS["exceptions"])
def test_an_exception_is_still_needed(name: str) -> None:
    assert sorted(WORDS["exceptions"][name]) == sorted(found(ROOT / name) & set(WORDS["exceptions"][name]))


@pytest.mark.parametrize(
    ("identifier", "words"),
    [("paint_pages", {"paint"}), ("PainterPool", {"painter"}), ("_spots", {"spot"}), ("repainted", set())],
)
def test_words_are_found_in_identifiers(identifier: str, words: set[str]) -> None:
    assert retired(identifier) == words
