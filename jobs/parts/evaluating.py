"""The parts of jobs/evaluate.py: colour held-out pages with Ray Data, measure each, publish figures and the report."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import ray.data

from datasets.errors import BadUsageError
from datasets.page import Page, encode
from datasets.shards import ShardSet
from datasets.storage import Storage, open_storage, split_uri
from imaging.color import U8, join_chroma
from imaging.metrics import ciede2000, colorfulness, luminance_ssim, psnr, ssim
from jobs.parts.cluster import Cluster
from jobs.parts.options import as_settings
from jobs.parts.outcome import Exit, as_json
from jobs.parts.painter import to_device
from jobs.parts.predicting import predict_chroma
from jobs.parts.progress import Meter
from jobs.parts.recipe import load_model
from jobs.parts.report import Curve, Figure, PageView, render_report
from jobs.parts.watching import METRICS

log = logging.getLogger("mangahue")
OURS, GRAY, MEAN, TRUTH = "ours", "gray page", "mean chroma", "truth"
_MEASURES = (  # name in metrics.json, in the report, which way is better, digits
    ("ciede2000", "CIEDE2000", "lower", 2),
    ("psnr", "PSNR", "higher", 2),
    ("ssim", "SSIM", "higher", 3),
    ("colorfulness", "Colourfulness", "truth", 1),
    ("luminance_ssim", "Luminance SSIM", "higher", 3),
)
_LUMINANCE = "Structural similarity of CIELAB L* with the source page: 1 where every line and letter is kept."


def require_holdout(shards: ShardSet) -> None:
    """Raises BadUsageError where nothing was held out."""
    if not shards.pages("holdout"):
        raise BadUsageError(f"--data {shards.uri} has no held-out pages; ingest again with --holdout")


def loss_curves(model: str) -> list[Curve]:
    """The curves of the training that published `model`, from RUN/metrics.jsonl; none where that is not there."""
    run = open_storage(split_uri(model)[0])
    if run.stat(METRICS) is None:
        return []
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in run.read(METRICS).splitlines():
        point = json.loads(line)
        values = point["losses"] if point["kind"] == "train" else {"ciede2000": point.get("ciede2000")}
        for name, value in values.items():
            title = f"{name} loss" if point["kind"] == "train" else "held-out CIEDE2000 at model size"
            if value is not None:
                curves.setdefault(title, []).append((point["step"], value))
    return [Curve(name, points) for name, points in curves.items()]


def measure_pages(config: Any, shards: ShardSet, card: Mapping[str, Any], cluster: Cluster) -> list[dict[str, Any]]:
    """Every held-out page that has its true colours, coloured and measured; pictures go to OUT/pages/."""
    on_gpu = cluster.on_gpu(config.device)
    actors = config.num_actors or cluster.actors(on_gpu)
    share = cluster.cpu_share()
    rows = shards.rows("holdout", num_cpus=share).flat_map(
        Colorist,
        fn_constructor_kwargs={"model": config.model, "actors": actors},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=share * 0.9,
        num_gpus=1 if on_gpu else 0,
    )
    measured = rows.map(measure_row, fn_kwargs={"out": config.out, "mean_chroma": card["mean_chroma"]}, num_cpus=share)
    pages = []
    with Meter("evaluate", shards.pages("holdout"), unit="pages") as meter:
        for row in measured.iter_rows():
            pages.append(json.loads(row["measured"]))
            meter.advance(1, 1)
    return sorted(pages, key=lambda page: (page["series"], page["chapter"], page["index"]))


class Colorist:
    """An actor that adds to each row with colour what the network predicts for its ink."""

    def __init__(self, *, model: str, actors: int) -> None:
        self._variant = load_model(model)
        to_device(self._variant, actors)

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        page = Page.from_row(row)
        if page.color is None:
            return []
        square = (self._variant.image_size,) * 2
        small = cv2.resize(page.decode_gray(), square, interpolation=cv2.INTER_AREA)
        return [{**row, "chroma": predict_chroma(self._variant, small[None])[0]}]


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
    candidates = {OURS: join_chroma(ink, row["chroma"]), GRAY: plain, MEAN: join_chroma(ink, flat)}
    figures = {name: _measure(picture, truth, ink) for name, picture in candidates.items()}
    figures[TRUTH] = {"colorfulness": colorfulness(truth), "luminance_ssim": luminance_ssim(truth, ink)}
    pictures = {}
    storage = open_storage(out)
    for name, picture in (("ink", plain), (OURS, candidates[OURS]), (TRUTH, truth)):
        key = f"pages/{page.series}/{page.chapter}/{page.index:04d}-{name}.jpg"
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


def publish(
    out: Storage, config: Any, card: Mapping[str, Any], curves: Sequence[Curve], pages: Sequence[dict[str, Any]]
) -> Exit:
    """Write metrics.json and report.html. Raises BadUsageError where no held-out page has colour."""
    if not pages:
        raise BadUsageError(f"--data {config.data}: no held-out page has its true colours; ingest a colour edition")
    means = {method: _mean([page["figures"][method] for page in pages]) for method in (OURS, GRAY, MEAN, TRUTH)}
    model = {name: card[name] for name in ("variant", "config", "weights_sha256", "steps", "seconds")}
    result = {"model": model, "pages": pages, "means": means, "settings": as_settings(config)}
    out.put("metrics.json", as_json(result))
    report = render_report(
        title="Coloured pages against the truth",
        summary={
            "model": f"{card['variant']} ({card['config']['target']}), {card['steps']} steps",
            "pages": f"{len(pages)} held out, at full size",
            "CIEDE2000": f"{means[OURS]['ciede2000']:.2f} ours, {means[GRAY]['ciede2000']:.2f} gray page",
        },
        figures=[_figure(measure, means) for measure in _MEASURES],
        curves=curves,
        pages=[_view(page) for page in pages],
        settings={**as_settings(config), **{f"training {name}": value for name, value in card["training"].items()}},
    )
    out.put("report.html", report.encode(), content_type="text/html; charset=utf-8")
    for method in (OURS, GRAY, MEAN):
        log.info("%-12s %s", method, ", ".join(f"{name} {value:.3f}" for name, value in means[method].items()))
    log.info("%d pages -> %s/report.html", len(pages), out.uri)
    return Exit.DONE


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([page[name] for page in figures])) for name in figures[0]}


def _figure(measure: tuple[str, str, str, int], means: Mapping[str, Mapping[str, float]]) -> Figure:
    name, title, better, digits = measure
    values = {method: figures[name] for method, figures in means.items() if name in figures}
    if name == "luminance_ssim":
        values.pop(TRUTH, None)
        return Figure(title, better, values, digits, _LUMINANCE)
    return Figure(title, better, values, digits)


def _view(page: Mapping[str, Any]) -> PageView:
    ours, gray = page["figures"][OURS], page["figures"][GRAY]
    return PageView(
        chapter=page["chapter"],
        name=page["name"],
        before=page["pictures"]["ink"],
        after=page["pictures"][OURS],
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
