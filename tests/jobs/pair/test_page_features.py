"""The features of pictures, kept for the next run, and what is kept where storage failed."""

import pytest

from datasets.errors import StorageError
from datasets.page import encode
from jobs.parts.pair import page_features as module
from jobs.parts.pair.page_features import find_group, load_features
from jobs.parts.pair.pictures import fetched, find_pictures
from tests.imaging.editions import page
from tests.jobs.pair.library import put


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """Three pages in one group."""
    folder = tmp_path_factory.mktemp("features")
    for number in range(1, 4):
        put(folder / f"ch/{number}.jpg", encode(page(number)[1][: 500 + number], "jpeg"))
    (found,) = find_pictures(str(folder), 16, [])
    return found


def found_without(group, lost, out, monkeypatch):
    """What is found where storage does not give one of the pictures."""

    def give(ref, member):
        if member.name == lost:
            raise StorageError("it is away")
        return fetched(ref, member)

    monkeypatch.setattr(module, "fetched", give)
    return find_group(group, out=out)


def test_what_was_found_in_part_is_not_mistaken_for_another_part(group, tmp_path, monkeypatch):
    out = str(tmp_path)
    without_first, without_last = (found_without(group, f"{number}.jpg", out, monkeypatch) for number in (1, 3))
    assert (without_first.numbers, without_last.numbers) == ((1, 2), (0, 1))
    assert without_first.key != without_last.key
    assert load_features(out, without_first.key, 0).size[1] == 502
    assert load_features(out, without_last.key, 0).size[1] == 501
    whole = found_without(group, "none", out, monkeypatch)
    assert (whole.numbers, whole.failures) == ((0, 1, 2), ())


def test_features_are_found_once(group, tmp_path, monkeypatch):
    first = found_without(group, "none", str(tmp_path), monkeypatch)
    monkeypatch.setattr(module, "fetched", None)
    assert find_group(group, out=str(tmp_path)) == first
