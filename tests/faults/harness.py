"""A cluster whose jobs can be killed at named points, a library for it, and checks of what must hold afterwards."""

import importlib
import importlib.util
import io
import json
import operator
import os
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.storage import Storage
from datasets.storage_s3 import S3Storage
from imaging.color import U8
from jobs.parts.ledger.revisions import Revisions

HOOKS = Path(__file__).parent / "hooks"


@dataclass
class Faults:
    """The folder that tells the processes of a cluster where to die. See hooks/sitecustomize.py."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mangahue-faults-")))

    def __post_init__(self) -> None:
        check_patches()
        (self.folder / "taken").mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(HOOKS), os.environ.get("PYTHONPATH")]))
        return {"MANGAHUE_FAULTS": str(self.folder), "PYTHONPATH": path}

    def plan(self, point: str, action: str, times: int = 1) -> None:
        """Let `times` processes do `action` when they reach `point`."""
        for number in range(times):
            (self.folder / f"{point}@{action}@{number}").touch()

    @property
    def waiting(self) -> list[str]:
        """The planned faults that no process has met yet."""
        return sorted(file.name for file in self.folder.glob("*@*"))

    def reset(self) -> None:
        """Remove all planned faults and the counts."""
        for file in [*self.folder.glob("*@*"), *self.folder.glob("predictor-*"), self.folder / "log"]:
            file.unlink(missing_ok=True)

    def counted(self, what: str) -> Counter[str]:
        """How often `what` happened to each chapter.

        "predict": it went to the network; "publish": it was about to be put; "put": its archive was written.
        """
        log = self.folder / "log"
        lines = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
        return Counter(rel for kind, rel, _ in lines if kind == what)


def check_patches() -> None:
    """Raises ImportError or AttributeError where a name that the hooks patch has moved."""
    spec = importlib.util.spec_from_file_location("hooks", HOOKS / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    for name, (_, attributes) in hooks.PATCHES.items():
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"{name}, which the faults patch, is no module; correct PATCHES of {HOOKS}")
        for attribute in attributes:
            operator.attrgetter(attribute)(importlib.import_module(name))


def write_library(folder: Path, chapters: int, pages: int = 2, seed: int = 0) -> list[str]:
    """Write small chapters, no two of them equal. Returns their names."""
    rng = np.random.default_rng(seed)
    names = [f"volume {number % 3}/chapter {number:03d}.cbz" for number in range(chapters)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as chapter:
            for page in range(pages):
                levels = np.kron(rng.integers(0, 256, (12, 8), np.uint8), np.ones((8, 8), np.uint8))
                chapter.writestr(f"{page + 1:03d}.png", saved(levels))
    return names


def saved(levels: U8) -> bytes:
    """A gray page as PNG."""
    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return out.getvalue()


def check_whole(out: Storage, names: list[str], pages: int = 2) -> None:
    """Assert that all is done, each chapter is there once and whole, and nothing else is left."""
    report = json.loads(out.read("_mangahue/report.json"))
    assert report["chapters"] == {"done": len(names), "partial": 0, "quarantined": 0, "failed": 0}
    assert report["inputs"] == len(names)
    keys = [entry.key for entry in out.list()]
    assert sorted(key for key in keys if key.endswith(".cbz")) == sorted(names)
    assert not [key for key in keys if key.startswith(("_mangahue/staged/", "_mangahue/pieces/"))]
    manifests = Revisions(out)
    for name in names:
        manifest = manifests.latest(name)
        assert manifest is not None
        with zipfile.ZipFile(io.BytesIO(out.read(name))) as chapter:
            assert chapter.testzip() is None
            assert chapter.namelist() == [f"{page + 1:03d}.jpg" for page in range(pages)]
        assert [page.action for page in manifest.pages] == ["coloured"] * pages


def unfinished(out: Storage) -> list[str]:
    """Uploads that nobody will end: on S3 parts that are billed, on disk temporary files."""
    if isinstance(out, S3Storage):
        found = out.client.list_multipart_uploads(Bucket=out.bucket)
        return [upload["Key"] for upload in found.get("Uploads", []) if upload["Key"].startswith(out._root)]
    return [str(path) for path in Path(out.uri).rglob(".mangahue-tmp-*")]


def colorize(model: Path, source: Path, out: str, *more: str) -> tuple[str, ...]:
    """The arguments of jobs/colorize.py."""
    return ("--model", str(model), "--source", str(source), "--out", out, *more)
