"""The state machine: what people, runs and storage may do, in any order, and what must hold after each step."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar
from unittest import mock

import hypothesis.strategies as st
import numpy as np
from greenlet import getcurrent
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from PIL import Image

from datasets.archive import find_chapters
from datasets.errors import BadUsageError, Code
from datasets.storage import open_storage
from jobs.parts.ledger.ledger import HOME, Ledger
from jobs.parts.ledger.manifest import Manifest
from jobs.parts.ledger.revisions import FIRSTS, LATER, key_of
from jobs.parts.ledger.staged import STAGED
from jobs.parts.verify.check import Finding, check_row, mark, open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import members_of, saved
from tests.log_machine.drivers import Driver, Order
from tests.log_machine.runs import Options, Run, in_this_process
from tests.log_machine.stores import Store

ARCHIVES, FOLDER, BOOK = ("ch01.cbz", "series/ch02.cbz"), "series", "book.pdf"
PAGES = ("1.png", "2.png", "3.png")
FOREIGN = (*ARCHIVES, BOOK, "book.cbz", f"{FOLDER}/1.jpg", f"{FOLDER}/3.png", f"{FOLDER}/notes.txt")
SOURCES = st.sampled_from(["in", "in", "in", "in2"])
KINDS = st.sampled_from(["whole", "longer", "a damaged page", "cut off"])
CHANGING = st.sampled_from([ARCHIVES[0], ARCHIVES[0], f"{FOLDER}/1.png", f"{FOLDER}/2.png"])
PLACES = st.sampled_from(["", "/{source}", "/staged/{chapter}/", "/out/{chapter}"])
FAULTS = [order for order in Order if order is not Order.GO]


def _options() -> st.SearchStrategy[Options]:
    """One thing that is not as usual, seldom two."""
    odd: dict[str, list[Any]] = {
        "source": ["in2"], "weights": ["b"], "image_format": ["jpeg"], "palette": ["as it is", "edited"],
        "keep_format": [True], "strict": [True], "few_pixels": [True], "hints": [True], "replace": [True],
    }  # fmt: skip
    one = st.sampled_from([(name, value) for name, values in odd.items() for value in values])
    return st.lists(one, max_size=2).map(lambda chosen: replace(Options(), **dict(chosen)))


@dataclass(frozen=True)
class Owner:
    """Who put an object into the output: a chapter of a source in one version, or somebody else (uri "")."""

    uri: str
    version: str = ""


class LogMachine(RuleBasedStateMachine):
    """Two sources and one output folder. Folder chapters and archives lie side by side."""

    new_store: ClassVar[Callable[[], Store]]
    steps: ClassVar[int] = 0  # of all examples
    tally: ClassVar[Counter[str]] = Counter()  # of all runs: how each ended

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).new_store()
        self.home = self.store.home
        self._stack = ExitStack()
        self._stack.enter_context(in_this_process())
        self._stack.enter_context(self.store.watched(self._changed))
        self.storage = open_storage(self.home)
        self.versions = itertools.count(1)
        self.history: dict[str, list[tuple[bytes, float]]] = {}
        self.owners: dict[str, Owner] = {}
        self.foreign: dict[str, bytes] = {}
        self.drivers: list[Driver] = []
        self.runs: dict[Driver, Run] = {}
        self.truths: dict[str, Manifest] = {}
        self.disturbed: set[Driver] = set()  # drivers that met a fault, another driver, or a change of their source
        self.violations: list[AssertionError] = []
        self.settled: set[str] = set()  # the chapters of a run that nothing has happened since
        self.last = Options()
        for source in ("in", "in2"):
            self._put_source(f"{source}/{ARCHIVES[0]}", self._archive("whole"))

    def teardown(self) -> None:
        try:
            for driver in list(self.drivers):
                self._advance(driver, Order.KILL)
            self._run_alone(replace(self.last, replace=True))
        finally:
            self._stack.close()

    # -- what people do

    def _new_page(self) -> bytes:
        pixels = np.full((40, 32), 230, np.uint8)
        pixels[4:-4, 4:-4] = np.random.default_rng(next(self.versions)).integers(130, 160, (32, 24))
        return saved(pixels)

    def _archive(self, kind: str) -> bytes:
        pages = {"1.png": self._new_page(), "2.png": self._new_page()}
        if kind == "longer":
            pages["3.png"] = self._new_page()
        if kind == "a damaged page":
            pages["2.png"] = pages["2.png"][:70]
        data = zipped(pages)
        return data[:-60] if kind == "cut off" else data

    def _content_of(self, name: str, kind: str) -> bytes:
        if name in ARCHIVES:
            return self._archive(kind)
        page = self._new_page()
        if name == BOOK:
            return saved(np.array(Image.open(io.BytesIO(page))), "PDF")
        return page[:70] if kind == "cut off" else page

    def _put_source(self, key: str, data: bytes) -> None:
        self._touch()
        self.storage.put(key, data)
        entry = self.storage.stat(key)
        assert entry is not None
        self.history.setdefault(key, []).append((data, entry.modified))

    def _touch(self) -> None:
        """The source is another one: what runs on it may mix both."""
        type(self).steps += 1
        self.settled = set()
        self.disturbed |= set(self.drivers)

    @rule(source=SOURCES, name=st.sampled_from([*ARCHIVES, *(f"{FOLDER}/{page}" for page in PAGES), BOOK]), kind=KINDS)
    def put_a_source(self, source: str, name: str, kind: str) -> None:
        self._put_source(f"{source}/{name}", self._content_of(name, kind))

    @rule(choice=st.integers(0, 99), ago=st.integers(0, 3))
    def take_a_source_away_or_restore_it(self, choice: int, ago: int) -> None:
        """ago: restore it as it was so many versions ago; 0 takes it away."""
        keys = sorted(key for key in self.history if ago or not key.endswith(ARCHIVES[0]))  # no source is ever empty
        if not keys:
            return
        key = keys[choice % len(keys)]
        self._touch()
        if not ago:
            self.storage.delete(key)
            return
        data, modified = self.history[key][-min(ago, len(self.history[key]))]
        self.store.restore(key, data, modified)

    @initialize(keys=st.sets(st.sampled_from(FOREIGN), max_size=2))
    def files_are_there_already(self, keys: set[str]) -> None:
        for key in sorted(keys):
            self.somebody_puts_a_file(key)

    @rule(key=st.sampled_from(FOREIGN))
    def somebody_puts_a_file(self, key: str) -> None:
        if not self.drivers and self.storage.stat(f"out/{key}") is None and not self._in_the_way(key):
            self._touch()
            self.foreign[key] = f"mine {next(self.versions)}".encode()
            self.storage.put(f"out/{key}", self.foreign[key])
            self.owners[key] = Owner("")

    def _in_the_way(self, key: str) -> bool:
        """A file that a manifest names and that is gone is the job's to put again."""
        ledger = Ledger(f"{self.home}/out", "")
        return any(key in _keys_of(ledger, rel) for rel in ledger.manifests())

    @precondition(lambda self: self.settled and not self.drivers)
    @rule(choice=st.integers(0, 99), harm=st.sampled_from(["flipped", "deleted", "manifest"]))
    def what_is_published_is_damaged(self, choice: int, harm: str) -> None:
        """And verify finds it. With its manifest goes what is known of a chapter, so that is mended at once."""
        opened = open_published(f"{self.home}/out")
        rels = sorted(self.settled & {rel for rel, one in opened.manifests.items() if one.is_published})
        if not rels or (harm == "manifest" and self.foreign):
            return
        options = replace(self.last, few_pixels=False, strict=False)
        self._touch()
        whole = opened.ledger.manifest(rels[choice % len(rels)])
        assert whole is not None
        key = whole.output if whole.sha256 else f"{whole.output}/{whole.pages[0].output}"
        if harm == "manifest":
            self.storage.put(f"out/{key_of(whole.rel, whole.number)}", b"{")
        elif harm == "flipped":
            data = self.storage.read(f"out/{key}")
            self.storage.put(f"out/{key}", data[:-1] + bytes([data[-1] ^ 1]))
        else:
            self.storage.delete(f"out/{key}")
        assert {finding.rel for finding in self._verify()} == {whole.rel}, f"verify does not see {harm} {key}"
        if harm == "manifest":
            self._run_alone(options)

    def _verify(self) -> list[Finding]:
        """As the verify job, in this process."""
        opened = open_published(f"{self.home}/out")
        found = [Finding(one.rel, Code(one.code), "") for one in opened.manifests.values() if one.status == "damaged"]
        for standing in opened.standing:
            row = check_row({"rel": standing.rel}, ledger=opened.ledger)
            if row["code"]:
                found.append(Finding(standing.rel, Code(row["code"]), row["message"]))
        mark(opened, found)
        return found

    # -- runs

    @precondition(lambda self: len(self.drivers) < 2)
    @rule(options=_options())
    def a_run_begins(self, options: Options) -> None:
        self._begin(options)

    def _begin(self, options: Options) -> Driver:
        type(self).steps += 1
        self.settled, self.last = set(), options
        run = Run(options, self.home)
        driver = Driver(run)
        self.runs[driver] = run
        self.drivers.append(driver)
        if len(self.drivers) > 1:
            self.disturbed |= set(self.drivers)
        return driver

    @precondition(lambda self: self.drivers)
    @rule(which=st.integers(0, 1), calls=st.integers(1, 90))
    def a_run_goes_on(self, which: int, calls: int) -> None:
        type(self).steps += 1
        self._move(self.drivers[which % len(self.drivers)], calls)

    @precondition(lambda self: self.drivers)
    @rule(which=st.integers(0, 1), calls=st.integers(0, 60), fault=st.sampled_from(FAULTS))
    def a_run_meets_a_fault(self, which: int, calls: int, fault: Order) -> None:
        driver = self.drivers[which % len(self.drivers)]
        self.a_run_goes_on(which, calls)
        if not driver.dead:
            self.disturbed.add(driver)
            self._advance(driver, fault)

    @precondition(lambda self: self.drivers)
    @rule(which=st.integers(0, 1))
    def a_run_ends(self, which: int) -> None:
        type(self).steps += 1
        self._finish(self.drivers[which % len(self.drivers)])

    @precondition(lambda self: not self.drivers)
    @rule(options=_options(), late=st.booleans())
    def a_run_alone(self, options: Options, late: bool) -> None:
        """late: a day after what happened before."""
        with mock.patch("jobs.parts.ledger.ledger._STALE", timedelta(seconds=-60 if late else 86400)):
            self._run_alone(options)

    @precondition(lambda self: not self.drivers)
    @rule(page=st.sampled_from(PAGES), options=_options())
    def a_page_goes_between_two_runs(self, page: str, options: Options) -> None:
        self._put_source(f"{options.source}/{FOLDER}/{page}", self._new_page())
        self._run_alone(options)
        self._touch()
        self.storage.delete(f"{options.source}/{FOLDER}/{page}")
        self._run_alone(options)

    @precondition(lambda self: not self.drivers)
    @rule(
        options=st.sampled_from([replace(Options(), replace=True), replace(Options(), replace=True, strict=True)]),
        name=CHANGING,
        kinds=st.sampled_from([("cut off", "whole"), ("whole", "longer"), ("longer", "cut off"), ("whole", "whole")]),
        places=st.tuples(PLACES, PLACES),
        calls=st.tuples(st.integers(0, 6), st.integers(0, 6)),
        slower_first=st.booleans(),
    )
    def a_source_changes_between_two_runs_at_once(
        self,
        options: Options,
        name: str,
        kinds: tuple[str, str],
        places: tuple[str, str],
        calls: tuple[int, int],
        slower_first: bool,
    ) -> None:
        """places, calls: where each run waits for the other: so many calls after its first at the place.
        slower_first: the run that began first ends first.
        """
        key = f"{options.source}/{name}"
        self._put_source(key, self._content_of(name, kinds[0]))
        runs = []
        for kind, place, some in zip((kinds[1], ""), places, calls, strict=True):
            runs.append(self._begin(options))
            at = place.format(source=key, chapter=name.rpartition("/")[0] or name)
            while not runs[-1].dead and at not in runs[-1].waits_at:
                self._advance(runs[-1])
            self._move(runs[-1], some)
            if kind:
                self._put_source(key, self._content_of(name, kind))
        for driver in runs if slower_first else reversed(runs):
            self._finish(driver)
        self._run_alone(options)

    @precondition(lambda self: not self.drivers)
    @rule(options=_options(), name=CHANGING, calls=st.integers(0, 80))
    def a_change_is_taken_back_after_a_kill(self, options: Options, name: str, calls: int) -> None:
        """The source is again as it was when it was published, time and all."""
        key = f"{options.source}/{name}"
        self._put_source(key, self._content_of(name, "whole"))
        self._run_alone(options)
        self._put_source(key, self._content_of(name, "whole"))
        driver = self._begin(options)
        self._move(driver, calls)
        if not driver.dead:
            self._advance(driver, Order.KILL)
        data, modified = self.history[key][-2]
        self._touch()
        self.store.restore(key, data, modified)
        self._run_alone(options)

    @precondition(lambda self: not self.drivers)
    @rule(options=_options(), calls=st.integers(20, 90), key=st.sampled_from(FOREIGN))
    def somebody_puts_a_file_after_a_kill(self, options: Options, calls: int, key: str) -> None:
        driver = self._begin(options)
        self._move(driver, calls)
        if not driver.dead:
            self._advance(driver, Order.KILL)
        self.somebody_puts_a_file(key)

    @precondition(lambda self: not self.drivers)
    @rule()
    def start_over(self) -> None:
        """Somebody deletes the whole output."""
        self._touch()
        for entry in list(self.storage.list("out/")):
            self.storage.delete(entry.key)
        self.owners, self.foreign, self.truths = {}, {}, {}

    def _move(self, driver: Driver, calls: int) -> None:
        for _ in range(calls):
            if not driver.dead:
                self._advance(driver)

    def _finish(self, driver: Driver) -> None:
        while not driver.dead:
            self._advance(driver)

    def _advance(self, driver: Driver, order: Order = Order.GO) -> None:
        try:
            driver.advance(order)
        finally:
            if driver.dead:
                self.drivers.remove(driver)
        if self.violations:
            raise self.violations[0]
        if driver.dead:
            self._check_what_it_says(driver)

    def _run_alone(self, options: Options) -> None:
        first = self._finished(options)
        if first.state is None:
            return  # refused: the folder belongs to another job
        self._check_output(first)
        again = self._finished(options)
        assert again.state is not None
        results = {rel: one.status for rel, one in first.state.results.items()}
        assert {rel: one.status for rel, one in again.state.results.items()} == results, "a second run ends otherwise"
        assert again.state.computed == set(), "a second run did something"
        self._check_output(again)
        published = {rel for rel, status in results.items() if status in ("done", "partial")}
        assert not published & {found.rel for found in self._verify()}, "verify finds what nobody damaged"
        self.settled = set() if "failed" in results.values() else published

    def _finished(self, options: Options) -> Run:
        driver = self._begin(options)
        self._finish(driver)
        if driver.error is not None:
            refused = isinstance(driver.error, BadUsageError) and not options.replace
            assert refused, f"a run without faults ended with {driver.error!r}"
            self.runs[driver].state = None
        return self.runs[driver]

    # -- what must hold

    def _changed(self, method: str, uri: str, key: str) -> None:
        """Something was put or deleted."""
        caller, path = getcurrent(), f"{uri}/{key}".removeprefix(f"{self.home}/")
        if not isinstance(caller, Driver) or not path.startswith("out/"):
            return
        name, run = path.removeprefix("out/"), self.runs[caller]
        caller.is_watched = True
        try:
            self._check_change(method, name, run)
        except AssertionError as error:
            self.violations.append(error)  # a stage would make it the chapter's outcome
        finally:
            caller.is_watched = False

    def _check_change(self, method: str, name: str, run: Run) -> None:
        if name.startswith((FIRSTS, LATER)):
            if method == "put":
                self._check_truth(run)
        elif not name.startswith(f"{HOME}/") and name != "_SUCCESS":
            self._check_owner(method, name, run)

    def _check_owner(self, method: str, name: str, run: Run) -> None:
        """Nothing of somebody else, or of another source, is overwritten or deleted."""
        assert run.state is not None
        before = self.owners.pop(name, None)
        ref = next(
            task.ref
            for task in run.state.tasks
            if name in (task.output, task.ref.rel, f"{task.ref.name}.cbz") or name.startswith(f"{task.output}/")
        )
        if before is not None:
            assert before.uri, f"{name} is somebody else's: {method}"
            same = before.uri == ref.uri or before.version == ref.version
            assert same or run.options.replace, f"{name} was made of {before.uri}: {method} by a run on {ref.uri}"
        if method == "put":
            self.owners[name] = Owner(ref.uri, ref.version)

    def _check_truth(self, run: Run) -> None:
        """A late quarantine does not hide what is published of the present source."""
        ledger = Ledger(f"{self.home}/out", "")
        inputs = run.state.inputs if run.state is not None else []  # while it is planned, it commits what others left
        versions = {(ref.uri, ref.rel): ref for ref in inputs}
        for rel, now in ledger.manifests().items():
            before = self.truths.get(rel)
            if before is not None and before.is_published and now.status == "quarantined":
                ref = versions.get((before.source, rel))
                hidden = ref is not None and now.source == before.source != "" and now.version != before.version
                assert not (hidden and ref and ref.version_now() == before.version), f"{rel} was done, and is hidden"
            self.truths[rel] = now

    def _check_what_it_says(self, driver: Driver) -> None:
        """What a run says is done is so in the version that it was planned with."""
        run = self.runs[driver]
        self._count(driver, run)
        if run.exit is None or run.state is None:
            return
        planned = {ref.rel: ref.version for ref in run.state.inputs}
        for rel, outcome in run.state.results.items():
            if outcome.is_published:
                assert outcome.version == planned[rel], f"{rel} is said to be {outcome.status}, in another version"
            undisturbed = driver not in self.disturbed
            if undisturbed and outcome.status == "failed":
                assert self._is_held_up(rel), f"{rel} failed without a fault: {outcome.message}"

    def _count(self, driver: Driver, run: Run) -> None:
        ended = "killed" if driver.error is None else type(driver.error).__name__
        self.tally[ended if run.exit is None else run.exit.name.lower()] += 1
        if run.exit is not None and run.state is not None:
            self.tally.update(f"chapter {one.status}" for one in run.state.results.values())

    def _is_held_up(self, rel: str) -> bool:
        """Somebody else's file is where the chapter's output goes."""
        stem = rel.rpartition(".")[0] if rel.endswith(".pdf") else rel
        return any(key == rel or key == f"{stem}.cbz" or key.startswith(f"{rel}/") for key in self.foreign)

    def _check_output(self, run: Run) -> None:
        """The output is what the manifests say, and what a run into an empty folder would make."""
        assert run.state is not None
        opened, results = open_published(f"{self.home}/out"), run.state.results
        present = {ref.rel: ref.version for ref in find_chapters(f"{self.home}/{run.options.source}")}
        expected = set(self.foreign)
        for rel, summary in opened.manifests.items():
            outcome = results.get(rel)
            ours = outcome is not None and outcome.status != "failed" and outcome.code != Code.COLLISION
            if ours and outcome is not None and outcome.is_published:
                assert outcome.version == present[rel]
                row = check_row({"rel": rel}, ledger=opened.ledger)
                assert not row["code"], f"{rel} is {outcome.status}, and not as published: {row['message']}"
            left = summary.left
            if left is not None:
                expected |= _keys_of(opened.ledger, rel)
        there = self._there()
        begun = self._begun()
        assert there - expected - begun == set(), "files that no manifest names are left"
        gone = {key for key in expected - there if self._of_results(key, results)}
        assert gone == set(), "files that manifests name are not there"
        for key, data in self.foreign.items():
            assert self.storage.read(f"out/{key}") == data
        self._check_against_a_fresh_run(run)

    def _check_against_a_fresh_run(self, run: Run) -> None:
        assert run.state is not None
        if run.options.few_pixels:
            return  # what was published under another policy stays
        fresh = Run(replace(run.options, replace=False), self.home, out=f"fresh-{next(self.versions)}")()
        assert fresh.state is not None
        for rel, outcome in run.state.results.items():
            wanted = fresh.state.results[rel]
            if not (outcome.is_published and wanted.status == outcome.status):
                continue
            keys = _keys_of(Ledger(f"{self.home}/out", ""), rel)
            assert keys == _keys_of(Ledger(f"{self.home}/{fresh.out}", ""), rel), f"{rel} has other files"
            for key in keys:
                one, other = (self.storage.read(f"{out}/{key}") for out in ("out", fresh.out))
                assert _content(key, one) == _content(key, other), f"{key} is not what a fresh run makes"
        for entry in list(self.storage.list(f"{fresh.out}/")):
            self.storage.delete(entry.key)

    def _of_results(self, key: str, results: dict[str, Manifest]) -> bool:
        """Whether a key is of a chapter that this run has published."""
        return any(
            one.is_published and (key == one.output or key.startswith(f"{one.output}/")) for one in results.values()
        )

    def _there(self) -> set[str]:
        found = (entry.key.removeprefix("out/") for entry in self.storage.list("out/"))
        return {key for key in found if not key.startswith(f"{HOME}/") and key != "_SUCCESS"}

    def _begun(self) -> set[str]:
        """What runs that died may have put: a later run takes it over, or deletes it."""
        begun: set[str] = set()
        for entry in self.storage.list(f"out/{STAGED}"):
            staged = Manifest.from_json(self.storage.read(entry.key))
            begun |= {staged.output, *(f"{staged.output}/{page.output}" for page in staged.pages)}
        return begun


def _keys_of(ledger: Ledger, rel: str) -> set[str]:
    """The keys of what a chapter's manifest says is in the output."""
    manifest = ledger.manifest(rel)
    left = None if manifest is None else manifest.left
    if left is None:
        return set()
    return {left.output} if left.sha256 else {f"{left.output}/{page.output}" for page in left.pages}


def _content(key: str, data: bytes) -> Any:
    if key.endswith(".cbz"):
        return members_of(data)
    return data if not key.endswith(".pdf") else len(data)
