"""The commit log under orders of events that nobody thought of: sources change, runs are killed, others put files.

A model of the library says what must hold. After each step: what somebody else put into the output is untouched. After
each run that nothing disturbed: the output is exactly what the manifests say, they are of the sources as they are, what
was published of a chapter that is now broken is still there, and a second run does nothing.
"""

import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from datasets import storage_disk
from datasets.archive import find_chapters
from datasets.errors import BadUsageError, Code
from datasets.storage_disk import LocalStorage
from jobs.parts.ledger.ledger import HOME
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.runtime.sandbox import Sandbox
from jobs.parts.source import reader
from jobs.parts.verify.check import Finding, check_row, mark, open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import color_page, gray_page
from tests.jobs.colorize.library import Library
from tests.untrained import publish_untrained

ARCHIVES, FOLDER = ("ch01.cbz", "series/ch02.cbz"), "series"
KEYS = [*ARCHIVES, f"{FOLDER}/1.jpg", f"{FOLDER}/3.png", f"{FOLDER}/notes.txt"]  # of the output
OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"format": st.sampled_from(["jpeg", "png"]), "strict": st.booleans(), "replace": st.booleans()}
)


class Killed(BaseException):
    """The driver's process is gone."""


class Mortal:
    """Storage on disk that dies at its n-th call, and lets no call through after that."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __enter__(self) -> None:
        def mortal(method: str) -> Any:
            real = getattr(LocalStorage, method)

            def call(storage: LocalStorage, *arguments: Any, **given: Any) -> Any:
                self._left -= 1
                if self._left < 0:
                    raise Killed
                return real(storage, *arguments, **given)

            return call

        methods = ("list", "stat", "metadata", "read", "open", "put", "delete")
        dying = type("Dying", (LocalStorage,), {method: mortal(method) for method in methods})
        self._patch = mock.patch.object(storage_disk, "LocalStorage", dying)
        self._patch.start()

    def __exit__(self, *error: object) -> None:
        self._patch.stop()
        reader._open.clear()  # a process that is gone holds nothing open


class LogMachine(RuleBasedStateMachine):
    """One source, one output folder. Folder chapters and archives lie side by side."""

    model: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="mh-machine-"))
        self.library = Library(self.home, self.model)
        self.versions = 0
        self.others: dict[str, bytes] = {}
        self.settled = False
        self.options: dict[str, Any] = {}
        self._sandbox = mock.patch.object(Sandbox, "call", lambda self, f, *arguments, seconds: f(*arguments))
        self._sandbox.start()
        self.put_archive("ch01.cbz", "whole")

    def teardown(self) -> None:
        self._sandbox.stop()
        shutil.rmtree(self.home)

    def _write(self, key: str, data: bytes) -> None:
        self.settled = False
        self.library.put(f"in/{key}", data)

    # -- what people do

    @rule(name=st.sampled_from(ARCHIVES), kind=st.sampled_from(["whole", "cut off", "a damaged page", "longer"]))
    def put_archive(self, name: str, kind: str) -> None:
        self.versions += 1
        pages = {"1.png": gray_page(self.versions), "2.png": color_page()}
        if kind == "longer":
            pages["3.png"] = gray_page(self.versions + 1000)
        if kind == "a damaged page":
            pages["1.png"] = pages["1.png"][:90]
        data = zipped(pages)
        self._write(name, data[:-60] if kind == "cut off" else data)

    @rule(page=st.sampled_from(["1.png", "2.png", "3.png"]), whole=st.booleans())
    def put_page(self, page: str, whole: bool) -> None:
        self.versions += 1
        data = gray_page(self.versions)
        self._write(f"{FOLDER}/{page}", data if whole else data[:90])

    @rule(key=st.sampled_from([*ARCHIVES, *(f"{FOLDER}/{n}.png" for n in (1, 2, 3))]))
    def remove(self, key: str) -> None:
        if key != "ch01.cbz":  # a source is never empty
            self.settled = False
            (self.home / "in" / key).unlink(missing_ok=True)

    @initialize(keys=st.sets(st.sampled_from(KEYS)))
    def files_are_there_already(self, keys: set[str]) -> None:
        for key in sorted(keys):
            self.somebody_puts_a_file(key)

    @rule(key=st.sampled_from(KEYS))
    def somebody_puts_a_file(self, key: str) -> None:
        path = self.home / "out" / key
        if not path.exists() and not path.parent.is_file():
            self.settled = False
            self.others[key] = f"mine {self.versions}".encode()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.others[key])

    @rule(choice=st.integers(0, 9))
    def published_bytes_rot(self, choice: int) -> None:
        """And verify finds it."""
        if not self.settled or not (self.home / "out" / HOME / "job.json").exists():
            return
        opened = open_published(str(self.library.out))
        rels = sorted(rel for rel, one in opened.manifests.items() if one.standing is not None)
        if not rels:
            return
        rel = rels[choice % len(rels)]
        standing = opened.ledger.manifest(rel).standing  # type: ignore[union-attr]
        assert standing is not None
        key = standing.output if standing.sha256 else f"{standing.output}/{standing.pages[0].output}"
        (self.library.out / key).write_bytes(b"rotten")
        found = check_row({"rel": rel}, ledger=opened.ledger)
        assert found["code"], f"verify does not see what became of {key}"
        mark(opened, [Finding(rel, Code(found["code"]), found["message"])])
        self.settled = False

    # -- runs

    @rule(options=OPTIONS, calls=st.integers(1, 120))
    def a_run_is_killed(self, options: dict[str, Any], calls: int) -> None:
        self.settled = False
        try:
            with Mortal(calls):
                self.library.run(**options)
        except Killed:
            pass
        except BadUsageError:
            assert not options["replace"]

    @rule(options=OPTIONS)
    def run(self, options: dict[str, Any]) -> None:
        before = self._standing()
        try:
            results = self.library.run(**options)
        except BadUsageError:  # of other settings than what is there
            assert not options["replace"]
            return
        self._check_output(before, results)
        again = self.library.run(**options)
        failed = {rel for rel, one in results.items() if one.status == "failed"}
        assert self.library.computed - failed == set(), "a second run did something"
        assert {rel: one.status for rel, one in again.items()} == {rel: one.status for rel, one in results.items()}
        self.settled = all(one.status != "failed" for one in results.values())

    @rule(page=st.sampled_from(["1.png", "2.png", "3.png"]), options=OPTIONS)
    def a_page_goes_between_two_runs(self, page: str, options: dict[str, Any]) -> None:
        self.put_page(page, whole=True)
        self.run(options)
        self.remove(f"{FOLDER}/{page}")
        self.run(options)

    # -- what must hold

    @invariant()
    def what_somebody_else_put_there_is_untouched(self) -> None:
        for key, data in self.others.items():
            assert (self.library.out / key).read_bytes() == data, f"{key} was overwritten"

    def _standing(self) -> dict[str, str]:
        if not (self.home / "out" / HOME / "job.json").exists():
            return {}
        manifests = open_published(str(self.library.out)).manifests
        return {rel: one.standing.output for rel, one in manifests.items() if one.standing is not None}

    def _check_output(self, before: dict[str, str], results: dict[str, Any]) -> None:
        opened = open_published(str(self.library.out))
        expected = set(self.others)
        for rel in opened.manifests:
            manifest = opened.ledger.manifest(rel)
            assert manifest is not None
            gone = rel not in results  # from the source: its output stays as it is, rotten or not
            standing = manifest.left if gone else manifest.standing
            if standing is None:
                continue
            if not gone and results[rel].status != "failed":  # a folder that failed may be of two versions till then
                assert not check_row({"rel": rel}, ledger=opened.ledger)["code"], f"{rel} is not as published"
            files = [f"{standing.output}/{page.output}" for page in standing.pages]
            expected |= {standing.output} if standing.sha256 else set(files)
        for rel, outcome in results.items():
            if outcome.status in ("quarantined", "failed") and rel in before:
                assert rel in {r for r, one in opened.manifests.items() if one.standing or one.status == "damaged"}, (
                    f"what was published of {rel} is forgotten"
                )
            if outcome.status in ("done", "partial"):
                assert outcome.version == self._version(rel)
        there = {
            path.relative_to(self.library.out).as_posix()
            for path in self.library.out.rglob("*")
            if path.is_file() and not path.is_relative_to(self.library.out / HOME)
        }
        begun = set()  # what a failed chapter has put so far: its next run takes it over, or deletes it
        for path in (self.library.out / HOME / "staged").rglob("*"):
            if path.is_file():
                staged = Manifest.from_json(path.read_bytes())
                begun |= {f"{staged.output}/{page.output}" for page in staged.pages}
        assert there - expected - begun == set(), "files that no manifest names are left"
        assert expected - there == set(), "files that manifests name are not there"
        for path in self.library.out.rglob("*.cbz"):
            if path.is_file() and path.relative_to(self.library.out).as_posix() not in self.others:
                with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                    assert archive.testzip() is None

    def _version(self, rel: str) -> str:
        return next(ref.version for ref in find_chapters(str(self.home / "in")) if ref.rel == rel)


def test_no_order_of_events_breaks_the_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("machine-model")
    publish_untrained(folder, base_channels=1, image_size=32)
    LogMachine.model = folder
    run_state_machine_as_test(
        LogMachine, settings=settings(max_examples=40, stateful_step_count=20, deadline=None, derandomize=True)
    )
