"""The colouring pipeline on Ray Data: chapters in, one manifest each out.

    open (CPU, light) -> prepare (CPU) -> paint (GPU or CPU actors that hold the network) -> finish (CPU)

A row is a stretch: at most 32 neighbouring members of one chapter, or 32 MB. A chapter of one stretch, as most are, is
published by `finish` itself; of a longer one each stretch is put aside, and when the last is there a task assembles
the archive from them, one in memory at a time. So a volume of any length is worked on by many workers, in bounded
memory, and a killed job keeps the stretches it has finished.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import ray
import ray.data

from jobs.parts import binding, stages
from jobs.parts.cluster import Cluster
from jobs.parts.ledger import Ledger, Manifest
from jobs.parts.painter import Painter
from jobs.parts.progress import Meter
from jobs.parts.recipe import Recipe
from jobs.parts.stretches import Stretch, Todo, from_row, to_row


def color_chapters(todo: Sequence[Todo], recipe: Recipe, cluster: Cluster) -> Iterator[Manifest]:
    """Colour and publish the chapters; yields the manifest of each as it is finished, in no order."""
    ledger = Ledger(recipe.out, recipe.fingerprint)
    assemble = ray.remote(num_cpus=cluster.cpu_share())(binding.assemble)
    missing: dict[str, set[int]] = {}
    told: set[str] = set()  # of a chapter that fails, the first stretch that does tells
    assembling: list[Any] = []
    with Meter("colorize", len(todo)) as meter:
        for row in _pipeline(todo, recipe, cluster, ledger).iter_rows():
            stretch: Stretch = from_row(row)
            rel = stretch.todo.ref.rel
            left = missing.setdefault(rel, set(range(stretch.of)))
            left.discard(stretch.number)
            if stretch.outcome is not None and rel not in told:
                told.add(rel)
                yield _tell(meter, stretch.outcome)
            elif not left and rel not in told:
                assembling.append(assemble.remote(stretch.todo, stretch.of, ledger))
            finished, assembling = ray.wait(assembling, timeout=0) if assembling else ([], [])
            yield from (_tell(meter, manifest) for manifest in ray.get(finished))
        yield from (_tell(meter, manifest) for manifest in ray.get(assembling))


def _tell(meter: Meter, manifest: Manifest) -> Manifest:
    meter.advance(1, sum(page.index is not None for page in manifest.pages))
    return manifest


def _pipeline(todo: Sequence[Todo], recipe: Recipe, cluster: Cluster, ledger: Ledger) -> "ray.data.Dataset":
    # Every stretch is a block of its own, and goes on as soon as it is made.
    ray.data.DataContext.get_current().target_max_block_size = 1
    on_gpu = cluster.on_gpu(recipe.device)
    actors = recipe.num_actors or cluster.actors(on_gpu)
    share = cluster.cpu_share()
    cut = {"ledger": ledger, "image_format": recipe.image_format}
    rows = ray.data.from_items([to_row(item) for item in todo], override_num_blocks=len(todo))
    # Neighbouring stages that ask for the same resources are fused into one and no longer scale on their own: each
    # asks for a little more or less than its neighbours.
    return (
        rows.flat_map(stages.open_row, fn_kwargs=cut, num_cpus=share / 4)
        .map(stages.prepare_row, fn_kwargs={"ledger": ledger, "image_size": recipe.image_size}, num_cpus=share)
        .map(
            Painter,
            fn_constructor_kwargs={"recipe": recipe, "actors": actors},
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=share * 0.9,
            num_gpus=1 if on_gpu else 0,
        )
        .map(stages.finish_row, fn_kwargs=cut, num_cpus=share)
    )
