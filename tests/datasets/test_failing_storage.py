"""Storage that fails while a chapter is read: that is told as it is, and never passes for a broken chapter."""

import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from datasets import chapters
from datasets.archive import find_chapters
from datasets.chapters import open_chapter, pdf
from datasets.errors import StorageError
from datasets.storage_disk import LocalStorage
from tests.archives import epub
from tests.datasets.test_chapters import FORMATS, content
from tests.datasets.test_chapters import pdf as pdf_of


class Failing(io.RawIOBase):
    """A file whose reads fail as storage does, after the first few."""

    def __init__(self, data: bytes, reads: list[int]) -> None:
        self._inner, self._left = io.BytesIO(data), reads

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def readinto(self, buffer: Any) -> int:
        if not self._left[0]:
            raise StorageError("s3://x: no answer")
        self._left[0] -= 1
        return self._inner.readinto(buffer)


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 40, 3), np.uint8))


def made(folder: Path, name: str) -> bytes:
    if name == "ep.pdf":
        return pdf_of(noise(1), noise(2))
    if name == "drawn.pdf":  # pages that are more than a JPEG
        return pdf_of(noise(1).convert("1"), noise(2).convert("1"))
    return epub({"1.jpg": b"one" * 200}) if name == "ep.epub" else FORMATS[name](folder)


@pytest.mark.parametrize("name", [*FORMATS, "ep.pdf", "drawn.pdf"])
def test_a_failure_of_storage_is_no_fault_of_the_chapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = made(tmp_path, name)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / name).write_bytes(data)
    (ref,) = find_chapters(str(tmp_path / "library" / name))
    whole = content(open_chapter(ref))

    class Source(LocalStorage):
        left: ClassVar[list[int]] = [0]

        def open(self, key: str) -> Any:
            return io.BufferedReader(Failing(data, self.left), 256)

    monkeypatch.setattr(chapters, "open_storage", lambda uri: Source(Path(uri)))
    failures = 0
    for reads in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24):
        Source.left = [reads]
        try:
            found = content(open_chapter(ref))
        except StorageError:
            failures += 1
        else:
            assert found == whole
    assert failures > 1


def test_a_pdf_that_is_written_anew_is_not_written_without_what_storage_withheld(tmp_path: Path) -> None:
    data = made(tmp_path, "ep.pdf")
    for reads in range(1, 12):
        try:
            found = pdf.jpegs_of(io.BufferedReader(Failing(data, [reads]), 256))
        except StorageError:
            continue
        assert found == pdf.jpegs_of(io.BytesIO(data))
    with pytest.raises(StorageError):
        pdf.recolor(io.BufferedReader(Failing(data, [6]), 256), {}, tmp_path / "out.pdf")


def test_a_disk_that_fails_while_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "ep.cbz").symlink_to("/proc/self/mem")  # its first bytes can't be read: EIO
    storage = LocalStorage(tmp_path)
    for read in (lambda file: file.read(10), lambda file: file.read(), lambda file: file.readinto(bytearray(10))):
        with storage.open("ep.cbz") as file, pytest.raises(StorageError, match=r"ep\.cbz: Input/output error"):
            read(file)
