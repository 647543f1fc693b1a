"""Storage on disk keeps no empty folders, and makes those again that another process has taken away."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from datasets.errors import BadUsageError, MangahueError, ObjectExistsError
from datasets.storage import TEMP_PREFIX
from datasets.storage_disk import LocalStorage

ROUNDS = 150


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_last_object_takes_its_folders_with_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    storage = LocalStorage(root)
    for key in ("a/b/c/1", "a/b/c/2", "a/3"):
        storage.put(key, b"")
    storage.delete("a/b/c/1")
    assert below(root) == ["a", "a/3", "a/b", "a/b/c", "a/b/c/2"]
    storage.delete("a/b/c/2")
    assert below(root) == ["a", "a/3"]
    storage.delete("a/3")
    assert below(tmp_path) == ["root"]
    storage.put("top", b"")
    storage.delete("top")
    assert below(tmp_path) == ["root"]


def test_a_folder_is_the_root_of_its_child(tmp_path: Path) -> None:
    child = LocalStorage(tmp_path).child("a/b")
    child.put("c/1", b"")
    child.delete("c/1")
    assert below(tmp_path) == ["a", "a/b"]


def test_what_others_made_stays(tmp_path: Path) -> None:
    (tmp_path / "a/empty").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    storage = LocalStorage(tmp_path)
    for key in ("a/b/1", "link/1"):
        storage.put(key, b"")
        storage.delete(key)
    storage.delete("a/empty/none")  # nothing was there, and nothing is taken away
    storage.delete("a/empty")
    assert below(tmp_path) == ["a", "a/empty", "elsewhere", "link"]


def test_a_put_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    with pytest.raises(BadUsageError):
        storage.put("a/b/1", tmp_path / "no such file")
    (tmp_path / "folder/is/there").mkdir(parents=True)
    with pytest.raises(MangahueError):
        storage.put("folder/is", b"")
    assert below(tmp_path) == ["folder", "folder/is", "folder/is/there"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MangahueError, match="No space"):
        LocalStorage(tmp_path).put("a/b/1", b"x")
    assert below(tmp_path) == []


def test_what_killed_writers_left_takes_its_folders_with_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / f"a/b/{TEMP_PREFIX}1").touch()
    (tmp_path / f"{TEMP_PREFIX}2").touch()
    assert LocalStorage(tmp_path).abort_stale_uploads(timedelta(0)) == 2
    assert below(tmp_path) == []


@pytest.mark.parametrize("times", [1, 3])
def test_a_put_whose_folder_goes_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    made: list[Path] = []
    mkdir = Path.mkdir

    def made_and_gone(self: Path, *arguments: Any, **options: Any) -> None:
        mkdir(self, *arguments, **options)
        made.append(self)
        if len(made) <= times:
            self.rmdir()

    monkeypatch.setattr(Path, "mkdir", made_and_gone)
    LocalStorage(tmp_path).put("a/b/1", b"x")
    assert len(made) > times
    assert below(tmp_path) == ["a", "a/b", "a/b/1"]


def test_a_name_that_is_a_file_is_no_folder(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a", b"")
    for key in ("a/1", "a/b/1"):
        with pytest.raises(BadUsageError, match="can't share a name"):
            storage.put(key, b"")
    assert below(tmp_path) == ["a"]


def put_and_delete(storage: LocalStorage, if_absent: bool, worker: int) -> int:
    """Returns how many of its objects were not there after they were put."""
    missing = 0
    for number in range(ROUNDS):
        key = f"a/b/{number % 2}/{worker}"
        storage.put(key, b"x", if_absent=if_absent)
        missing += storage.stat(key) is None
        storage.delete(key)
    return missing


@pytest.mark.parametrize("if_absent", [False, True])
@pytest.mark.parametrize(
    "workers",
    [ThreadPoolExecutor, partial(ProcessPoolExecutor, mp_context=get_context("spawn"))],
    ids=["thread", "process"],
)
def test_puts_and_deletes_in_one_folder_at_once(
    tmp_path: Path, workers: Callable[[int], Executor], if_absent: bool
) -> None:
    storage = LocalStorage(tmp_path)
    with workers(2) as pool:
        assert list(pool.map(partial(put_and_delete, storage, if_absent), range(2))) == [0, 0]
    assert below(tmp_path) == []


def test_of_two_writers_one_wins_though_folders_come_and_go(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)

    def write(worker: int) -> int:
        won = 0
        for number in range(ROUNDS):
            try:
                storage.put(f"{number}/x", b"x", if_absent=True)
                won += 1
            except ObjectExistsError:
                pass
            other = f"{number}/{worker}"
            storage.put(other, b"")
            storage.delete(other)
        return won

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(write, range(2))) == ROUNDS
