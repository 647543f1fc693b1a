"""Writes the results of an evaluation: metrics.json and the report."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets.errors import BadUsageError
from datasets.storage import Storage, open_storage, split_uri
from jobs.parts.evaluate.area_figures import area_figures, sum_of_records
from jobs.parts.evaluate.candidates import GRAY, INK, MEAN, OURS, TRUTH, Candidate
from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.evaluate.report import Curve, Figure, PageView, PictureRow, render_report
from jobs.parts.model.folder import METRICS, folder_of
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import Exit, as_json

log = logging.getLogger("mangahue")
_MEASURES = (  # name in metrics.json, name in the report, which way is better, digits
    ("ciede2000", "CIEDE2000", "lower", 2),
    ("color_names", "Colour names right", "higher", 2),
    ("clouds", "Clouds", "lower", 3),
    ("psnr", "PSNR", "higher", 2),
    ("ssim", "SSIM", "higher", 3),
    ("colorfulness", "Colourfulness", "truth", 1),
    ("colorfulness_share", "Colourfulness, of the truth's", "truth", 2),
    ("luminance_ssim", "Luminance SSIM", "higher", 3),
)
_COSTS = (  # per model: name in metrics.json, name in the report, which way is better, digits, meaning
    ("parameters", "Parameters, millions", "lower", 2, "Size of the network that colours."),
    ("pages_per_second", "Pages per second", "higher", 2, "The network alone, page by page, on one of the workers."),
    ("memory", "Peak memory, MB", "lower", 0, "The weights and what a prediction takes on top of them."),
)
_ROW_PAGES = 4
_LUMINANCE = "Structural similarity of CIELAB L* with the source page: 1 where every line and letter is kept."


def loss_curves(candidates: Sequence[Candidate]) -> list[Curve]:
    """The curves of the trainings, from RUN/metrics.jsonl where it exists. With several models only the held-out
    curves.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for candidate in candidates:
        run = open_storage(split_uri(folder_of(candidate.uri))[0])
        of = f" of {candidate.name}" if len(candidates) > 1 else ""
        for line in run.read(METRICS).splitlines() if run.stat(METRICS) else []:
            point = json.loads(line)
            if point["kind"] != "train" and "ciede2000" in point:
                title = f"held-out CIEDE2000{of} at model size"
                curves.setdefault(title, []).append((point["step"], point["ciede2000"]))
            elif point["kind"] == "train" and not of:
                for name, value in point["losses"].items():
                    curves.setdefault(f"{name} loss", []).append((point["step"], value))
    return [Curve(name, points) for name, points in curves.items()]


def publish(
    out: Storage, config: EvaluateConfig, candidates: Sequence[Candidate], pages: Sequence[dict[str, Any]]
) -> Exit:
    """Write metrics.json and the report, and log the means. Raises BadUsageError where no held-out page has colour."""
    if not pages:
        raise BadUsageError(f"--data {config.data}: no held-out page has its true colours; ingest a colour edition")
    names = [candidate.name for candidate in candidates]
    means = {method: _mean([page["figures"][method] for page in pages]) for method in (*names, GRAY, MEAN, TRUTH)}
    by_name = _add_area_figures(means, pages)
    costs = {name: _cost([page["costs"][name] for page in pages]) for name in names}
    settings = as_settings(config)
    out.put(
        "metrics.json",
        as_json(
            {
                "models": {candidate.name: _card(candidate) for candidate in candidates},
                "pages": pages,
                "means": means,
                "color_names": by_name,
                "costs": costs,
                "settings": settings,
            }
        ),
    )
    best = min(candidates, key=lambda candidate: means[candidate.name]["ciede2000"])
    report = render_report(
        title="Coloured pages against the truth",
        summary={
            "model": "; ".join(_described(candidate) for candidate in candidates),
            "pages": f"{len(pages)} held out, at full size",
            "CIEDE2000": f"{means[best.name]['ciede2000']:.2f} {best.name}, {means[GRAY]['ciede2000']:.2f} gray page",
        },
        figures=[*(_figure(measure, means) for measure in _MEASURES), *_cost_figures(costs)],
        names=by_name,
        curves=loss_curves(candidates),
        picture_rows=_picture_rows(pages, names) if len(names) > 1 else [],
        pages=[_view(page, best.name) for page in pages],
        settings={**settings, **{f"training {name}": value for name, value in _training(candidates).items()}},
    )
    out.put("report.html", report.encode(), content_type="text/html; charset=utf-8")
    for method in (*names, GRAY, MEAN):
        log.info("%-12s %s", method, ", ".join(f"{name} {value:.3f}" for name, value in means[method].items()))
    log.info("%d pages -> %s/report.html", len(pages), out.uri)
    return Exit.DONE


def _card(candidate: Candidate) -> dict[str, Any]:
    return {name: candidate.card[name] for name in ("variant", "config", "weights_sha256", "steps", "seconds")}


def _described(candidate: Candidate) -> str:
    card = candidate.card
    named = "" if candidate.name == OURS else f"{candidate.name}: "
    return f"{named}{card['variant']} ({card['config']['target']}), {card['steps']} steps"


def _training(candidates: Sequence[Candidate]) -> Mapping[str, Any]:
    return candidates[0].card["training"] if len(candidates) == 1 else {}


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([page[name] for page in figures])) for name in figures[0]}


def _add_area_figures(
    means: Mapping[str, dict[str, float]], pages: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, tuple[int, int]]]:
    """Add to the means of each method what is counted in areas, from the sums over pages.

    Returns for each method and name the areas that it names right, and all of them.
    """
    truth = means[TRUTH]["colorfulness"]
    means[TRUTH]["colorfulness_share"] = 1.0
    by_name = {}
    for method in means:
        if method != TRUTH:
            counts = sum_of_records([page["areas"][method] for page in pages])
            means[method].update(area_figures(counts, means[method]["colorfulness"], truth))
            by_name[method] = counts.by_name()
    return by_name


def _cost(pages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median over pages, because the first page also pays for what is set up once."""
    return {
        "parameters": pages[0]["parameters"],
        "pages_per_second": 1 / float(np.median([page["seconds"] for page in pages])),
        "memory": float(np.median([page["memory"] for page in pages])),
    }


def _cost_figures(costs: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    return [
        Figure(title, better, {model: cost[name] for model, cost in costs.items()}, digits, meaning)
        for name, title, better, digits, meaning in _COSTS
    ]


def _figure(measure: tuple[str, str, str, int], means: Mapping[str, Mapping[str, float]]) -> Figure:
    name, title, better, digits = measure
    values = {method: figures[name] for method, figures in means.items() if name in figures}
    if name == "luminance_ssim":
        values.pop(TRUTH, None)
        return Figure(title, better, values, digits, _LUMINANCE)
    return Figure(title, better, values, digits)


def _picture_rows(pages: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[PictureRow]:
    """A row of pictures for each model, all of the same few pages, evenly spread. Ink comes first, the truth last."""
    shown = [pages[i] for i in sorted({round(i) for i in np.linspace(0, len(pages) - 1, _ROW_PAGES)})]
    return [
        PictureRow(name, [(page["pictures"][name], f"{page['chapter']} {page['name']}") for page in shown])
        for name in (INK, *names, TRUTH)
    ]


def _view(page: Mapping[str, Any], name: str) -> PageView:
    ours, gray, areas = page["figures"][name], page["figures"][GRAY], page["areas"][name]
    return PageView(
        chapter=page["chapter"],
        name=page["name"],
        before=page["pictures"][INK],
        after=page["pictures"][name],
        truth=page["pictures"][TRUTH],
        figures={
            "CIEDE2000": ours["ciede2000"],
            "CIEDE2000 of the gray page": gray["ciede2000"],
            "Colour names right": areas.get("color_names", math.nan),
            "Clouds": areas["clouds"],
            "Colourfulness": ours["colorfulness"],
            "Luminance SSIM": ours["luminance_ssim"],
        },
        width=page["width"],
        height=page["height"],
    )
