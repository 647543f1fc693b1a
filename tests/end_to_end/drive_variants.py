"""Takes variants through a real cluster, in one driver.

Each is trained by two workers of which one is killed, stopped, resumed by a rerun, published, and used to colour. What
happened is written as JSON for test_variants.py.

python -m tests.end_to_end.drive_variants CLUSTER SHARDS SOURCE OUT VARIANT...

CLUSTER is the pid of the process that the training workers are below.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jobs import colorize, evaluate, train
from tests.ray_cluster import training_workers

FIRST, THEN, LOOK = 60, 90, 20
OWN: dict[str, dict[str, Any]] = {  # what a variant needs to be small and quick
    "cyclegan": {"base_channels": 4, "setting": ("blocks=1",)},
    "pix2pix": {"base_channels": 4},
    "pix2pixhd": {"base_channels": 4, "setting": ("blocks=1", "local_blocks=1")},
    "colornet": {"vgg_weights": "random"},
    "hypercolumn": {"base_channels": 32, "setting": ("columns=reduced",), "optimizer": "adam", "vgg_weights": "random"},
    "zhang": {"base_channels": 4},
    "exemplar": {"base_channels": 8, "init": "none"},
}


def job(module: Any, config: Any) -> int:
    """Run a job's main and return its exit code. All jobs share one Ray driver, so that workers start once."""
    return int(module.main(config))


def points(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def kill_one(cluster: int, run: Path, killed: list[int], over: threading.Event) -> None:
    """Kill a worker below the process `cluster` as soon as there is a checkpoint to resume from."""
    while not over.wait(0.05):
        if any(point["step"] >= LOOK and point["kind"] != "train" for point in points(run)):
            time.sleep(1.0)  # the checkpoint follows the held-out evaluation
            victims = training_workers(cluster)
            killed.append(victims[-1].pid)
            os.kill(victims[-1].pid, signal.SIGKILL)
            return


def drive(cluster: int, name: str, shards: str, source: str, out: Path) -> dict[str, Any]:
    run = out / name / "run"
    options: dict[str, Any] = {
        "variant": name, "data": shards, "run": str(run), "image_size": 64, "batch_size": 1, "num_workers": "2",
        "eval_every": LOOK, "learning_rate": 1e-3, **OWN.get(name, {}),
    }  # fmt: skip
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_one, args=(cluster, run, killed, over))
    killer.start()
    try:
        first = job(train, train.TrainConfig(**options, max_steps=FIRST))
    finally:
        over.set()
        killer.join()
    before = points(run)
    then = job(train, train.TrainConfig(**options, max_steps=THEN))
    coloured = job(
        colorize, colorize.ColorizeConfig(model=str(run / "model"), source=source, out=str(out / name / "coloured"))
    )
    return {
        "exits": [first, then, coloured],
        "killed": killed,
        "before": before,
        "after": points(run),
        "card": json.loads((run / "model/model.json").read_text()),
    }


def drive_options(shards: str, out: Path) -> dict[str, Any]:
    """Try the options of training on cyclegan, then evaluate several models at once."""
    common: dict[str, Any] = {
        "data": shards, "image_size": 64, "batch_size": 1, "variant": "cyclegan", **OWN["cyclegan"],
    }  # fmt: skip
    weights = []
    for name in ("once", "twice"):
        config = train.TrainConfig(**common, run=str(out / name), deterministic=True, max_steps=6, accumulate=2)
        job(train, config)
        weights.append((out / name / "model/model.safetensors").read_bytes())
    # A rate that spoils what another training has learned: the first held-out evaluation is the best.
    init = str(out / "cyclegan/run/model")
    early = train.TrainConfig(
        **common, run=str(out / "early"), init=init, learning_rate=0.5, eval_every=3, early_stop=2, keep_checkpoints=1,
        max_steps=600, num_workers="1:2", clip_norm=1.0, augment="berserk",
    )  # fmt: skip
    job(train, early)
    several = (init, str(out / "once/model"), str(out / "twice/model"))
    evaluated = job(evaluate, evaluate.EvaluateConfig(model=several, data=shards, out=str(out / "report")))
    return {
        "same": weights[0] == weights[1],
        "early": {
            "points": points(out / "early"),
            "card": json.loads((out / "early/model/model.json").read_text()),
            "checkpoints": len(list((out / "early/checkpoints").glob("checkpoint_*/state.safetensors"))),
        },
        "evaluated": evaluated,
    }


def main(cluster: str, shards: str, source: str, out: str, *names: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for name in (*names, "options"):
        try:
            told = (
                drive_options(shards, Path(out))
                if name == "options"
                else drive(int(cluster), name, shards, source, Path(out))
            )
        except Exception as error:  # one variant's failure must not stop the others
            told = {"error": repr(error)}
        (Path(out) / f"{name}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
