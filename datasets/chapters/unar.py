"""unar, which unpacks what libarchive can't: compressed RAR4, solid RAR, deflate64."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from datasets.archive import ChapterRef
from datasets.errors import MissingToolError
from datasets.storage import Storage

_LISTING = 2**28  # bytes: 20,000 members take 10 million


class Unar:
    """Unpacks members of one archive to memory.

    An archive in a bucket is copied to this node first.
    """

    def __init__(self, storage: Storage, ref: ChapterRef, seconds: float) -> None:
        """Take an archive; nothing is started.

        storage: where the archive is.
        ref: the archive.
        seconds: the most that a command may take.
        """
        self._storage, self._ref, self._seconds = storage, ref, seconds
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._path: Path | None = None
        self._indices: dict[str, list[int]] | None = None

    def read(self, name: str, occurrence: int, size: int) -> bytes | None:
        """Return the `occurrence`-th member of this name, from 0; None where unar can't give its `size` bytes.

        name: the archive's own name of the member.
        occurrence: among the members of this name.
        size: unpacked bytes.

        Raises MissingToolError.
        """
        if shutil.which("unar") is None or shutil.which("lsar") is None:
            raise MissingToolError(f"{self._ref.uri} needs unar, which is not on this node: apt-get install unar")
        indices = self._listed().get(name, [])
        if occurrence >= len(indices):
            return None
        command = ["unar", "-quiet", "-no-recursion", "-forks", "skip", "-output-directory", "-", "-indexes"]
        command += [str(self._local()), str(indices[occurrence])]
        data = self._run(command, size)
        return data if len(data) == size else None

    def close(self) -> None:
        """Remove the copy of the archive, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()

    def _listed(self) -> dict[str, list[int]]:
        if self._indices is None:
            self._indices = {}
            try:
                listing = self._run(["lsar", "-json", "-no-recursion", str(self._local())], _LISTING)
                for entry in json.loads(listing)["lsarContents"]:
                    self._indices.setdefault(entry["XADFileName"], []).append(int(entry["XADIndex"]))
            except (ValueError, KeyError, TypeError):
                pass  # an archive that unar does not understand has no members
        return self._indices

    def _local(self) -> Path:
        if self._path is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mangahue-")
            self._path = self._storage.fetch(self._ref.key, Path(self._folder.name))
        return self._path

    def _run(self, command: list[str], most: int) -> bytes:
        """Return what a command prints, cut after one byte more than `most`.

        The command is ended when its time is over.
        """
        with tempfile.TemporaryFile() as out:
            limited = ["timeout", "--signal=KILL", f"{self._seconds:g}", *command]
            with subprocess.Popen(limited, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out) as process:
                assert process.stdout is not None
                data = process.stdout.read(most + 1)
                process.kill()
        return data
