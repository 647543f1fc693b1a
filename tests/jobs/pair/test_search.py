"""The search for pages in tasks: an index in parts finds what a whole one finds, and is taken up by the next run."""

import io

import numpy as np
import pytest

from datasets.storage import open_storage
from imaging.page_search import PageIndex, search
from jobs.parts.pair import search as module
from jobs.parts.pair.match import look
from jobs.parts.pair.page_features import load_features
from jobs.parts.pair.pictures import find_pictures
from jobs.parts.pair.search import make_index, search_all
from jobs.parts.runtime.local import LocalPool
from tests.jobs.pair.library import write_editions


@pytest.fixture(scope="module")
def pool():
    with LocalPool(2) as started:
        yield started


@pytest.fixture(scope="module")
def editions(pool, tmp_path_factory):
    """(URI of the shard folder, where the features of colour pictures and of gray pages are)."""
    folder = tmp_path_factory.mktemp("search")
    write_editions(folder)
    out = str(folder / "out")
    color, gray = (look(pool, find_pictures(str(folder / side), 16, []), out, side) for side in ("color", "gray"))
    return out, color.kept, gray.kept


def found_at_once(out, pictures, pages, vocabulary, *, mirrored=False):
    features, looked_for = ([load_features(out, *kept) for kept in side] for side in (pages, pictures))
    shown = [one.mirrored() for one in looked_for] if mirrored else looked_for
    return [found.tolist() for found in search([PageIndex.of(features, vocabulary)], vocabulary, shown, 8)]


@pytest.mark.parametrize("mirrored", [False, True])
def test_tasks_find_what_one_search_finds(pool, editions, monkeypatch, mirrored):
    out, pictures, pages = editions
    monkeypatch.setattr(module, "PART_PAGES", 2)
    monkeypatch.setattr(module, "_TASK_PICTURES", 3)
    index = make_index(pool, pages, out)
    assert len(index.parts) == 3
    vocabulary = np.load(io.BytesIO(open_storage(out).read(index.vocabulary)))
    found = search_all(pool, index, pictures, mirrored=mirrored)
    assert found == found_at_once(out, pictures, pages, vocabulary, mirrored=mirrored)
    assert max(page for pages_of in found for page in pages_of) == len(pages) - 1


@pytest.mark.parametrize(("meetings", "most"), [(64, 5), (6, 2), (1, 1)])
def test_a_task_has_fewer_pictures_where_the_index_is_large(pool, editions, monkeypatch, meetings, most):
    out, pictures, pages = editions
    monkeypatch.setattr(module, "PART_PAGES", 2)
    monkeypatch.setattr(module, "_TASK_MEETINGS", meetings)
    sizes = []

    class Watched:
        def map(self, function, tasks):
            sizes.extend(len(task.pictures) for task in tasks)
            return pool.map(function, tasks)

    search_all(Watched(), make_index(pool, pages, out), pictures)
    assert max(sizes) == most
    assert sum(sizes) == len(pictures) == 5


def test_a_vocabulary_is_made_from_fewer_features_of_each_page_where_there_are_many(pool, editions, monkeypatch):
    out, _, pages = editions
    monkeypatch.setattr(module, "_MOST_SAMPLE", 3 * len(pages))
    monkeypatch.setattr(module, "SAMPLE", 5)  # a name of its own in the folder
    sampled = []
    monkeypatch.setattr(module, "make_vocabulary", lambda sample: sampled.append(len(sample)) or sample[:1] * 1.0)
    make_index(pool, pages, out)
    assert sampled == [3 * len(pages)]


def test_what_is_there_is_taken_up(pool, editions, monkeypatch):
    out, pictures, pages = editions
    index = make_index(pool, pages, out)
    found = search_all(pool, index, pictures)

    def never(*arguments, **more):
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "sandbox", never)
    monkeypatch.setattr(module, "make_vocabulary", never)
    assert make_index(pool, pages, out) == index
    assert search_all(pool, index, pictures) == found


def test_other_pages_have_another_index(pool, editions):
    out, _, pages = editions
    one, other = (make_index(pool, some, out) for some in (pages, pages[:-1]))
    assert one.vocabulary != other.vocabulary
    assert not set(one.parts) & set(other.parts)
