"""The parts of jobs/evaluate.py: colour held-out pages with Ray Data, measure each, publish figures and the report."""

import json
import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import ray.data

from datasets.errors import BadUsageError
from datasets.page import Page, encode
from datasets.shards import ShardSet
from datasets.storage import Storage, open_storage, split_uri
from imaging.color import U8, join_chroma
from imaging.descreen import network_view
from imaging.metrics import ciede2000, colorfulness, luminance_ssim, psnr, ssim
from jobs.parts.evaluation_report import Curve, Figure, PageView, PictureRow, render_report
from jobs.parts.gauging import gauged
from jobs.parts.model.folder import METRICS, load_model, read_card
from jobs.parts.model.inference import predict_chroma, to_device
from jobs.parts.runtime.cluster import Cluster, actor_count, threads_each
from jobs.parts.runtime.options import as_settings
from jobs.parts.runtime.outcome import Exit, as_json
from jobs.parts.runtime.progress import Meter
from jobs.parts.style import Style, finish_page
from models.layers import count_parameters

log = logging.getLogger("mangahue")
INK, OURS, GRAY, MEAN, TRUTH = "ink", "ours", "gray page", "mean chroma", "truth"
_MEASURES = (  # name in metrics.json, in the report, which way is better, digits
    ("ciede2000", "CIEDE2000", "lower", 2),
    ("psnr", "PSNR", "higher", 2),
    ("ssim", "SSIM", "higher", 3),
    ("colorfulness", "Colourfulness", "truth", 1),
    ("luminance_ssim", "Luminance SSIM", "higher", 3),
)
_COSTS = (  # of each model: name in metrics.json, in the report, which way is better, digits, meaning
    ("parameters", "Parameters, millions", "lower", 2, "Size of the network that colours."),
    ("pages_per_second", "Pages per second", "higher", 2, "The network alone, page by page, on one of the workers."),
    ("memory", "Peak memory, MB", "lower", 0, "The weights and what a prediction takes on top of them."),
)
_ROW_PAGES = 4
_LUMINANCE = "Structural similarity of CIELAB L* with the source page: 1 where every line and letter is kept."


def require_holdout(shards: ShardSet) -> None:
    """Raises BadUsageError where nothing was held out."""
    if not shards.pages("holdout"):
        raise BadUsageError(f"--data {shards.uri} has no held-out pages; ingest again with --holdout")


@dataclass(frozen=True)
class Candidate:
    """A model to measure. name: its column; "ours" where it is the only one."""

    name: str
    uri: str
    card: Mapping[str, Any]


def find_candidates(uris: Sequence[str]) -> list[Candidate]:
    """The models at `uris`, named after their runs' folders. Raises BadUsageError where one is not there."""
    names = [OURS] if len(uris) == 1 else _short_names(uris)
    return [Candidate(name, uri, read_card(uri)) for name, uri in zip(names, uris, strict=True)]


def _short_names(uris: Sequence[str]) -> list[str]:
    """The run's folder of each RUN/model, with as many of those above as tell it from the others'."""
    folders = [tuple(part for part in uri.split("/") if part)[:-1] for uri in uris]
    if len(set(folders)) < len(folders):
        raise BadUsageError(f"--model {', '.join(uris)}: the same model is named twice; name each once")
    return [
        next(
            (
                "/".join(folder[-depth:])
                for depth in range(1, len(folder))
                if [other[-depth:] for other in folders].count(folder[-depth:]) == 1
            ),
            "/".join(folder),
        )
        for folder in folders
    ]


def loss_curves(candidates: Sequence[Candidate]) -> list[Curve]:
    """The curves of the trainings, from RUN/metrics.jsonl where that is there; of several models the held-out ones."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for candidate in candidates:
        run = open_storage(split_uri(candidate.uri)[0])
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


def measure_pages(
    config: Any, shards: ShardSet, candidates: Sequence[Candidate], cluster: Cluster
) -> list[dict[str, Any]]:
    """Every held-out page that has its true colours, coloured and measured; pictures go to OUT/pages/."""
    on_gpu = cluster.on_gpu(config.device)
    actors = actor_count(config.num_actors) or cluster.actors(on_gpu)
    share = cluster.cpu_share()
    rows = shards.rows("holdout", num_cpus=share).flat_map(
        Colorist,
        fn_constructor_kwargs={
            "models": [(candidate.name, candidate.uri) for candidate in candidates],
            "actors": actors,
        },
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=share * 0.9,
        num_gpus=1 if on_gpu else 0,
    )
    options = {"out": config.out, "mean_chroma": shards.mean_chroma}
    measured = rows.map(measure_row, fn_kwargs=options, num_cpus=share)
    pages = []
    with Meter("evaluate", shards.pages("holdout"), unit="pages") as meter:
        for row in measured.iter_rows():
            pages.append(json.loads(row["measured"]))
            meter.advance(1, 1)
    return sorted(pages, key=lambda page: (page["series"], page["chapter"], page["index"]))


class Colorist:
    """An actor that adds to each row with colour what each network predicts for its ink, and what that took."""

    def __init__(self, *, models: Sequence[tuple[str, str]], actors: int) -> None:
        self._variants = {name: load_model(uri) for name, uri in models}
        for variant in self._variants.values():
            to_device(variant, threads_each(actors))

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        page = Page.from_row(row)
        if page.color is None:
            return []
        gray = page.decode_gray()
        painted, costs = {}, {}
        for name, variant in self._variants.items():
            small = network_view(gray, variant.image_size)
            with gauged() as gauge:
                painted[name] = predict_chroma(variant, small[None])[0].astype(np.float16)
            weights = sum(tensor.nbytes for tensor in variant.generator().state_dict().values())
            costs[name] = {
                "parameters": count_parameters(variant.generator()) / 1e6,
                "seconds": gauge.seconds,
                "memory": (weights + gauge.memory) / 1e6,
            }
        return [{**row, "painted": pickle.dumps(painted), "costs": json.dumps(costs)}]


def measure_row(row: dict[str, Any], *, out: str, mean_chroma: Sequence[float]) -> dict[str, Any]:
    """A coloured page measured against the truth, beside its baselines; its pictures published."""
    page = Page.from_row(row)
    truth = page.decode_color()
    assert truth is not None
    ink = page.decode_gray(None if page.gray else truth)
    if truth.shape[:2] != ink.shape:  # editions of different sizes: the truth is measured at the ink's
        truth = cv2.resize(truth, ink.shape[::-1], interpolation=cv2.INTER_AREA)
    plain: U8 = np.repeat(ink[..., None], 3, axis=2)
    flat = np.tile(np.array(mean_chroma, np.float32), (2, 2, 1))
    coloured = {
        name: finish_page(ink, chroma.astype(np.float32), Style()).page
        for name, chroma in pickle.loads(row["painted"]).items()
    }
    methods = {**coloured, GRAY: plain, MEAN: join_chroma(ink, flat)}
    figures = {name: _measure(picture, truth, ink) for name, picture in methods.items()}
    figures[TRUTH] = {"colorfulness": colorfulness(truth), "luminance_ssim": luminance_ssim(truth, ink)}
    pictures = {}
    storage = open_storage(out)
    for name, picture in {INK: plain, **coloured, TRUTH: truth}.items():
        key = f"pages/{page.series}/{page.chapter}/{page.index:04d}-{name.replace('/', '_')}.jpg"
        storage.put(key, encode(picture, "jpeg"), content_type="image/jpeg")
        pictures[name] = key
    described = {
        "series": page.series,
        "chapter": page.chapter,
        "index": page.index,
        "name": page.name,
        "width": ink.shape[1],
        "height": ink.shape[0],
        "figures": figures,
        "costs": json.loads(row["costs"]),
        "pictures": pictures,
    }
    return {"measured": json.dumps(described)}


def _measure(picture: U8, truth: U8, ink: U8) -> dict[str, float]:
    return {
        "ciede2000": ciede2000(picture, truth),
        "psnr": psnr(picture, truth),
        "ssim": ssim(picture, truth),
        "colorfulness": colorfulness(picture),
        "luminance_ssim": luminance_ssim(picture, ink),
    }


def publish(out: Storage, config: Any, candidates: Sequence[Candidate], pages: Sequence[dict[str, Any]]) -> Exit:
    """Write metrics.json and report.html. Raises BadUsageError where no held-out page has colour."""
    if not pages:
        raise BadUsageError(f"--data {config.data}: no held-out page has its true colours; ingest a colour edition")
    names = [candidate.name for candidate in candidates]
    means = {method: _mean([page["figures"][method] for page in pages]) for method in (*names, GRAY, MEAN, TRUTH)}
    costs = {name: _cost([page["costs"][name] for page in pages]) for name in names}
    described = {
        candidate.name: {
            name: candidate.card[name] for name in ("variant", "config", "weights_sha256", "steps", "seconds")
        }
        for candidate in candidates
    }
    settings = as_settings(config)
    out.put(
        "metrics.json",
        as_json({"models": described, "pages": pages, "means": means, "costs": costs, "settings": settings}),
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


def _described(candidate: Candidate) -> str:
    card = candidate.card
    named = "" if candidate.name == OURS else f"{candidate.name}: "
    return f"{named}{card['variant']} ({card['config']['target']}), {card['steps']} steps"


def _training(candidates: Sequence[Candidate]) -> Mapping[str, Any]:
    return candidates[0].card["training"] if len(candidates) == 1 else {}


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([page[name] for page in figures])) for name in figures[0]}


def _cost(pages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median page, since the first one pays for what is made once."""
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
    """A row of pictures for each model, of the same few pages, evenly spread; ink first, the truth last."""
    shown = [pages[i] for i in sorted({round(i) for i in np.linspace(0, len(pages) - 1, _ROW_PAGES)})]
    return [
        PictureRow(name, [(page["pictures"][name], f"{page['chapter']} {page['name']}") for page in shown])
        for name in (INK, *names, TRUTH)
    ]


def _view(page: Mapping[str, Any], name: str) -> PageView:
    ours, gray = page["figures"][name], page["figures"][GRAY]
    return PageView(
        chapter=page["chapter"],
        name=page["name"],
        before=page["pictures"][INK],
        after=page["pictures"][name],
        truth=page["pictures"][TRUTH],
        figures={
            "CIEDE2000": ours["ciede2000"],
            "CIEDE2000 of the gray page": gray["ciede2000"],
            "Colourfulness": ours["colorfulness"],
            "Luminance SSIM": ours["luminance_ssim"],
        },
        width=page["width"],
        height=page["height"],
    )
