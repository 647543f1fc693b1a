"""Colours held-out pages with each model, and measures them against the truth."""

import json
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np

from datasets.page import Page, encode
from datasets.shards import ShardSet
from datasets.storage import open_storage
from imaging.color import U8, join_chroma
from imaging.color_areas import ColorAreas
from imaging.components import Mask
from imaging.descreen import network_view
from imaging.metrics import ciede2000, colorfulness, judged, luminance_ssim, psnr, ssim
from imaging.postprocess import PostprocessSettings, postprocess_page
from jobs.parts.evaluate.area_figures import area_record
from jobs.parts.evaluate.candidates import GRAY, INK, MEAN, TRUTH, Candidate, in_file_name
from jobs.parts.evaluate.config import EvaluateConfig
from jobs.parts.evaluate.cost import measured_cost
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import device_of, gpu_here, predict_chroma, to_device
from jobs.parts.runtime.local import LocalPool, result_of
from jobs.parts.runtime.options import actor_count
from jobs.parts.runtime.progress import Meter
from jobs.parts.runtime.runner import choose_runner
from models.layers import count_parameters

Row = dict[str, Any]


def measure_pages(config: EvaluateConfig, shards: ShardSet, candidates: Sequence[Candidate]) -> list[Row]:
    """Colour and measure every held-out page whose true colours are known. Pictures go to OUT/pages/.

    Returns one dictionary per page, as `measure_row` makes it, sorted by series, chapter and index.
    """
    runner = choose_runner(config.runner, config.device, actors=actor_count(config.num_actors))
    measured = _measured_here if runner == "local" else _measured_on_ray
    pages = []
    with Meter("evaluate", shards.pages("holdout"), unit="pages") as meter:
        for row in measured(config, shards, [(candidate.name, candidate.uri) for candidate in candidates]):
            pages.append(json.loads(row["measured"]))
            meter.advance(1, 1)
    return sorted(pages, key=lambda page: (page["series"], page["chapter"], page["index"]))


def _measured_here(config: EvaluateConfig, shards: ShardSet, models: list[tuple[str, str]]) -> Iterator[Row]:
    measure = partial(measure_row, out=config.out, mean_chroma=shards.mean_chroma)
    with LocalPool() as pool:
        coloring = result_of(
            pool.in_network_thread(partial(Models, models, pool.cores, on_gpu=gpu_here(config.device)))
        )

        def measured(page: Page) -> list[Row]:
            # No step runs beside the network, on a GPU neither: what a prediction costs is measured.
            return list(pool.map(measure, result_of(pool.in_network_thread(coloring, vars(page), all_cores=True))))

        for rows in pool.run(measured, shards.read("holdout")):
            yield from rows


def _measured_on_ray(config: EvaluateConfig, shards: ShardSet, models: list[tuple[str, str]]) -> Iterator[Row]:
    import ray.data

    from jobs.parts.runtime.cluster import connect

    cluster = connect()
    on_gpu = cluster.on_gpu(config.device)
    actors = actor_count(config.num_actors) or cluster.actors(on_gpu)
    share = cluster.cpu_share()
    rows = shards.rows("holdout", num_cpus=share).flat_map(
        ModelActor,
        fn_constructor_kwargs={"models": models, "actors": actors, "on_gpu": on_gpu},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=share * 0.9,
        num_gpus=1 if on_gpu else 0,
    )
    options = {"out": config.out, "mean_chroma": shards.mean_chroma}
    yield from rows.map(measure_row, fn_kwargs=options, num_cpus=share).iter_rows()


class Models:
    """Adds to a row what every model predicts for its ink, and what the prediction cost.

    models: (name, URI) of each model.
    threads: of the CPUs, where there is no GPU.
    on_gpu: whether this process has a GPU.
    Rows without ink or colour, and those masked all over, are dropped.
    """

    def __init__(self, models: Sequence[tuple[str, str]], threads: int, *, on_gpu: bool) -> None:
        self._variants = {name: load_model(uri) for name, uri in models}
        for variant in self._variants.values():
            to_device(variant, threads, on_gpu=on_gpu)

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        page = Page.from_row(row)
        if "pairs" not in page.kinds:
            return []
        gray = page.decode_gray()
        masked = page.decode_mask(gray.shape)
        if masked is not None and masked.all():
            return []
        predicted, costs = {}, {}
        for name, variant in self._variants.items():
            small = network_view(gray, variant.image_size)
            with measured_cost(device_of(variant)) as cost:
                predicted[name] = predict_chroma(variant, small[None])[0].astype(np.float16)
            weights = sum(tensor.nbytes for tensor in variant.generator().state_dict().values())
            costs[name] = {
                "parameters": count_parameters(variant.generator()) / 1e6,
                "seconds": cost.seconds,
                "memory": (weights + cost.memory) / 1e6,
            }
        return [{**row, "predicted": pickle.dumps(predicted), "costs": json.dumps(costs)}]


class ModelActor(Models):
    """The same on Ray.

    actors: how many such actors share the cluster's CPUs.
    """

    def __init__(self, *, models: Sequence[tuple[str, str]], actors: int, on_gpu: bool) -> None:
        from jobs.parts.runtime.cluster import threads_each

        super().__init__(models, threads_each(actors), on_gpu=on_gpu)


def measure_row(row: dict[str, Any], *, out: str, mean_chroma: Sequence[float]) -> dict[str, Any]:
    """Measure a page as each model colours it, and the two baselines, against the truth, what is masked left out.
    Publishes the page's pictures.

    row: as ModelActor makes it.
    out: URI of the output folder.
    mean_chroma: (a, b), the mean of the training pages.
    Returns {"measured": JSON text}.
    """
    page = Page.from_row(row)
    truth = page.decode_color()
    assert truth is not None
    ink = page.decode_gray(None if page.gray else truth)
    if truth.shape[:2] != ink.shape:  # the editions differ in size: measure at the size of the ink
        truth = cv2.resize(truth, ink.shape[::-1], interpolation=cv2.INTER_AREA)
    plain: U8 = np.repeat(ink[..., None], 3, axis=2)
    flat = np.tile(np.array(mean_chroma, np.float32), (2, 2, 1))
    coloured = {
        name: postprocess_page(ink, chroma.astype(np.float32), PostprocessSettings()).page
        for name, chroma in pickle.loads(row["predicted"]).items()
    }
    methods = {**coloured, GRAY: plain, MEAN: join_chroma(ink, flat)}
    masked = page.decode_mask(ink.shape)
    figures = {name: _measure(picture, truth, ink, masked) for name, picture in methods.items()}
    figures[TRUTH] = {
        "colorfulness": colorfulness(judged(truth, masked)),
        "luminance_ssim": luminance_ssim(truth, ink, masked),
    }
    areas = ColorAreas(ink, truth, masked)
    by_area = {
        name: area_record(areas.count(picture), figures[name]["colorfulness"], figures[TRUTH]["colorfulness"])
        for name, picture in methods.items()
    }
    pictures = {}
    storage = open_storage(out)
    for name, picture in {INK: plain, **coloured, TRUTH: truth}.items():
        key = f"pages/{page.series}/{page.chapter}/{page.index:04d}-{in_file_name(name)}.jpg"
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
        "areas": by_area,
        "costs": json.loads(row["costs"]),
        "pictures": pictures,
    }
    return {"measured": json.dumps(described)}


def _measure(picture: U8, truth: U8, ink: U8, masked: Mask | None) -> dict[str, float]:
    return {
        "ciede2000": ciede2000(picture, truth, masked),
        "psnr": psnr(picture, truth, masked),
        "ssim": ssim(picture, truth, masked),
        "colorfulness": colorfulness(judged(picture, masked)),
        "luminance_ssim": luminance_ssim(picture, ink, masked),
    }
