"""Every Python process of a cluster under test loads this module. It lets a job die at named points.

Python imports a module of this name at its start if it is on the path. Nothing happens in a process that does not
import our parts. MANGAHUE_FAULTS names a folder:

  <point>@<action>@<number>   do the action at this point, once: the process that does it moves the file away
  taken/                      files of actions that were done
  log                         a line for each thing to count: what, which chapter, pid
  driver.pid, head.pid        the processes to kill

Points: "before put", "after put" (the archive is there, its manifest is not), "after manifest", "predict".
Actions: kill "self", the "raylet" this process belongs to, the "driver", the "head", a "predictor"; or "hang", "exit",
    "memory".
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("MANGAHUE_FAULTS", "/nonexistent"))


def note(what, rel):
    with (FOLDER / "log").open("a") as log:  # one short write, so that lines of several processes do not mix
        log.write(f"{what}\t{rel}\t{os.getpid()}\n")


def reach(point):
    for file in sorted(FOLDER.glob(f"{point}@*")):
        try:
            file.rename(FOLDER / "taken" / file.name)
        except FileNotFoundError:  # another process was faster
            continue
        act(file.name.split("@")[1])
        return


def act(action):
    if action == "self":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raylet":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)  # the raylet's death ends this process
    elif action == "driver":
        os.kill(int((FOLDER / "driver.pid").read_text()), signal.SIGKILL)
        time.sleep(60)  # Ray ends this process after its driver: it must not meet what is planned for the next one
    elif action == "head":
        os.killpg(int((FOLDER / "head.pid").read_text()), signal.SIGKILL)
    elif action == "predictor":
        for file in FOLDER.glob("predictor-*"):
            file.unlink()
            try:
                os.kill(int(file.name.split("-")[1]), signal.SIGKILL)
            except ProcessLookupError:
                continue
    elif action == "hang":
        time.sleep(100_000)
    elif action == "exit":
        os._exit(0)
    elif action == "memory":
        import torch

        raise torch.OutOfMemoryError("CUDA out of memory, says the test")


class _Watched:
    """A storage that passes the named points as it puts one object."""

    def __init__(self, storage, rel, output):
        self._storage, self._rel, self._output = storage, rel, output

    def __getattr__(self, name):
        return getattr(self._storage, name)

    def put(self, key, *arguments, **options):
        if key != self._output:
            return self._storage.put(key, *arguments, **options)
        reach("before put")
        made = self._storage.put(key, *arguments, **options)
        note("put", self._rel)
        reach("after put")
        return made


def patch_ledger(module):
    publish = module.Ledger.publish

    def watched(self, manifest, archive, *, over):
        storage = self.storage
        note("publish", manifest.rel)
        self.storage = _Watched(storage, manifest.rel, manifest.output)
        try:
            made = publish(self, manifest, archive, over=over)
        finally:
            self.storage = storage
        reach("after manifest")
        return made

    module.Ledger.publish = watched


def patch_predictor(module):
    predict_chroma, predict = module.predict_chroma, module.Predictor.__call__

    def watched(variant, grays, *hints):
        (FOLDER / f"predictor-{os.getpid()}").touch()
        reach("predict")
        return predict_chroma(variant, grays, *hints)

    def noted(self, chunk):
        note("predict", chunk.task.ref.rel)
        return predict(self, chunk)

    module.predict_chroma, module.Predictor.__call__ = watched, noted


# Module: (patch, the names it patches). A name that has moved would go unnoticed, so harness.Faults checks them.
PATCHES = {
    "jobs.parts.ledger.ledger": (patch_ledger, ("Ledger.publish",)),
    "jobs.parts.colorize.predictor": (patch_predictor, ("predict_chroma", "Predictor.__call__")),
}


class _Patched(importlib.abc.Loader):
    def __init__(self, loader, patch):
        self._loader, self._patch = loader, patch

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        self._patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Patched(spec.loader, PATCHES[name][0])
        return spec


if FOLDER.is_dir():
    sys.meta_path.insert(0, _Finder())
    if sys.argv and sys.argv[0].endswith("colorize.py"):
        (FOLDER / "driver.pid").write_text(str(os.getpid()))
