"""Pictures that style sheets lay behind the elements of a document (CSS Backgrounds 3, Selectors 4, by cssselect2)."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import cssselect2
import tinycss2

_PROPERTIES = {"background": "background", "background-image": "background", "content": "content"}
_NESTED = 4  # style sheets that import each other
_INLINE = (1, 0, 0, 0)  # a style attribute is more specific than any selector
Fetch = Callable[[str, str], tuple[str, bytes] | None]  # base, link -> path and bytes of a style sheet


@dataclass(frozen=True)
class _Declared:
    """The pictures that one rule gives to a property; none, where it takes away those of others.

    links: each with the path that it is relative to.
    """

    name: str
    links: tuple[tuple[str, str], ...]
    important: bool


@dataclass(frozen=True)
class Rule:
    """A rule of a style sheet that says something about pictures."""

    selector: Any
    declared: tuple[_Declared, ...]


def rules_of(css: bytes | str, base: str, fetch: Fetch, depth: int = 0) -> list[Rule]:
    """Return the rules of a style sheet that say something about pictures, those of imported sheets first.

    css: the sheet; bytes in whatever encoding they declare.
    base: the path that its links are relative to.
    fetch: reads an imported sheet; None where there is none.
    """
    try:
        if isinstance(css, bytes):
            nodes, _ = tinycss2.parse_stylesheet_bytes(css, skip_comments=True, skip_whitespace=True)
        else:
            nodes = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
        return list(_rules(nodes, base, fetch, depth))
    except RecursionError:
        return []


def _rules(nodes: Iterable[Any], base: str, fetch: Fetch, depth: int) -> Iterator[Rule]:
    for node in nodes:
        if node.type == "qualified-rule":
            declared = tuple(_declared(node.content, base))
            for selector in _selectors(node.prelude) if declared else ():
                yield Rule(selector, declared)
        elif node.type == "at-rule" and node.lower_at_keyword == "import" and depth < _NESTED:
            link = next(_links(node.prelude, strings=True), "")
            found = fetch(base, link) if link else None
            if found is not None:
                yield from rules_of(found[1], found[0], fetch, depth + 1)
        elif _applies(node):
            inner = tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
            yield from _rules(inner, base, fetch, depth)


def _applies(node: Any) -> bool:
    """Return whether a node is an at-rule whose rules apply to what is read on a screen."""
    if node.type != "at-rule" or node.lower_at_keyword not in ("media", "supports", "layer") or node.content is None:
        return False
    return tinycss2.serialize(node.prelude).strip().lower() != "print"


def backgrounds(root: Element, rules: Iterable[Rule], base: str) -> Mapping[Element, list[tuple[str, str]]]:
    """Return the pictures behind each element that has some, as (base, link).

    base: the path that links in style attributes are relative to.
    """
    matcher = cssselect2.Matcher()
    count = 0
    for count, rule in enumerate(rules, 1):  # noqa: B007  # counted
        matcher.add_selector(rule.selector, rule.declared)
    found: dict[Element, list[tuple[str, str]]] = {}
    for wrapper in cssselect2.ElementWrapper.from_html_root(root).iter_subtree():
        node = wrapper.etree_element
        matched = [] if not count else matcher.match(wrapper)
        given = [((0, *specificity), order, pseudo, declared) for specificity, order, pseudo, declared in matched]
        if inline := node.get("style"):
            given.append((_INLINE, 0, None, tuple(_declared(inline, base))))
        if links := _winning(given):
            found[node] = links
    return found


def _winning(given: Iterable[tuple[Any, int, Any, tuple[_Declared, ...]]]) -> list[tuple[str, str]]:
    """Return the links of the declarations that win the cascade."""
    winners: dict[tuple[Any, str], tuple[Any, _Declared]] = {}
    for specificity, order, pseudo, all_declared in given:
        for number, declared in enumerate(all_declared):
            weight = (declared.important, specificity, order, number)
            known = winners.get((pseudo, declared.name))
            if known is None or known[0] <= weight:
                winners[pseudo, declared.name] = weight, declared
    return [link for _, declared in winners.values() for link in declared.links]


def _declared(block: Any, base: str) -> Iterator[_Declared]:
    for node in tinycss2.parse_blocks_contents(block, skip_comments=True, skip_whitespace=True):
        if node.type == "declaration" and (name := _PROPERTIES.get(node.lower_name)):
            links = tuple((base, link) for link in _links(node.value))
            if name == "background" or links:
                yield _Declared(name, links, node.important)


def _links(tokens: Iterable[Any], *, strings: bool = False) -> Iterator[str]:
    """Yield the links in tokens, of an image-set the first.

    strings: whether a string that stands by itself is a link.
    """
    stack = [(token, strings) for token in reversed(list(tokens))]
    while stack:
        token, counts = stack.pop()
        if token.type == "url" or (token.type == "string" and counts):
            yield token.value
        elif token.type == "function":
            inner, name = token.arguments, token.lower_name
            if name.endswith("image-set"):
                inner = list(itertools.takewhile(lambda part: part != ",", inner))
            linked = counts or name in ("url", "src") or name.endswith("image-set")
            stack += [(part, linked) for part in reversed(inner)]


def _selectors(prelude: Any) -> list[Any]:
    try:
        return cssselect2.compile_selector_list(prelude)
    except cssselect2.SelectorError:
        return []
