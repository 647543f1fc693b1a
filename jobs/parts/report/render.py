"""What the HTML reports share: the templates, how a value is shown, how the address of a picture is written."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

MISSING = "–"


def render(template: Path, **context: object) -> str:
    """A whole HTML page. Every value is escaped. Text that is not valid Unicode (an undecodable name) shows as "?".

    template: a Jinja file. It may use templates in its own folder, and the shared ones in this folder.
    context: the values for the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, plain=plain, relative_url=relative_url, duration=duration, counted=counted
    )
    html = environment.get_template(template.name).render(**context)
    return html.encode("utf-8", "replace").decode("utf-8")


def number(value: float | None, digits: int = 2) -> str:
    """A number such as `1,234.50`, with a true minus sign. A dash where the value is missing, NaN or infinite."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")  # -0.00 is 0.00
    return text.replace("-", "−")


def plain(value: object) -> str:
    """A setting or a summary value as text. A dash for nothing, NaN and infinities."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value) or MISSING
    return str(value).strip() or MISSING


def counted(count: int, noun: str) -> str:
    """`1 page`, `2,000 pages`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float | None) -> str:
    """`4.2 s`, `3 min 05 s`, `2 h 07 min`; a dash where no time is known."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def relative_url(path: str) -> str:
    """The path of a picture beside the page, quoted for an attribute: `a b#1.png` is `a%20b%231.png`.

    Raises ValueError for an absolute path. Such a page opens on one machine only, and `//name/x` would ask another
    host.
    """
    if not path or path.startswith("/"):
        raise ValueError(f"picture {path!r} of a report is not a relative path; give it relative to the page")
    return quote(path, safe="/", errors="surrogateescape")
