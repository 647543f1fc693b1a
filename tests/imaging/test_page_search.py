"""Finding the few pages that a picture may come from."""

import numpy as np
import pytest

from imaging.local_features import Features, find_features
from imaging.page_search import SAMPLE, PageIndex, find_terms, make_vocabulary, search, sign
from tests.imaging.editions import page, printed, turned


@pytest.fixture(scope="module")
def pages():
    """The features of twelve pages, printed a little otherwise."""
    return [find_features(printed(page(number)[0], turned(1, 0.9, (20, 30)), (620, 880))) for number in range(12)]


@pytest.fixture(scope="module")
def vocabulary(pages):
    return make_vocabulary(np.concatenate([one.descriptors[:SAMPLE] for one in pages]))


@pytest.fixture(scope="module")
def find(pages, vocabulary):
    """find(picture, most): the pages of a picture."""
    index = PageIndex.of(pages, vocabulary)
    return lambda picture, most: search([index], vocabulary, [find_features(picture)], most)[0].tolist()


@pytest.mark.parametrize("number", range(12))
def test_a_page_is_the_first_that_is_found(find, number):
    assert find(page(number)[1], 3)[0] == number


@pytest.mark.parametrize("number", range(1, 12))
def test_the_page_of_a_part_is_among_the_few(find, number):
    assert number in find(page(number)[1][250:650, 150:500], 3)


@pytest.mark.parametrize("size", [1, 5, 11])
def test_parts_of_an_index_find_what_the_whole_one_finds(pages, vocabulary, size):
    empty = find_features(np.full((300, 300), 200, np.uint8))
    looked_for = [*(find_features(page(number)[1]) for number in range(12)), empty]
    whole = search([PageIndex.of(pages, vocabulary)], vocabulary, looked_for, 8)
    kept = [PageIndex.of(pages[i : i + size], vocabulary, i).to_bytes() for i in range(0, 12, size)]
    parted = search(map(PageIndex.from_bytes, kept), vocabulary, looked_for, 8)
    assert [found.tolist() for found in parted] == [found.tolist() for found in whole]
    assert min(len(found) for found in whole[:-1]) == 8


def test_a_page_of_dots_draws_no_other_page(vocabulary):
    dots = np.full((900, 640), 255, np.uint8)
    dots[4::12, 4::12] = dots[5::12, 4::12] = dots[4::12, 5::12] = dots[5::12, 5::12] = 0
    dotted, others = find_features(dots), [find_features(page(number)[0]) for number in range(4)]
    screened = page(1)[1].copy()
    screened[300:600] = np.minimum(screened[300:600], dots[300:600, :, None])
    with_dots = PageIndex.of([dotted, *others], vocabulary)
    assert search([with_dots], vocabulary, [find_features(screened)], 2)[0][0] == 2


def test_a_picture_without_features_finds_nothing(find):
    assert find(np.full((300, 300), 200, np.uint8), 3) == []


def test_an_index_of_empty_pages_finds_nothing():
    empty = find_features(np.full((300, 300), 200, np.uint8))
    vocabulary = make_vocabulary(empty.descriptors)
    nothing = PageIndex.of([empty, empty], vocabulary)
    assert len(search([nothing], vocabulary, [find_features(page(1)[1])], 3)[0]) == 0


def test_terms_are_the_nearest_centres():
    chance = np.random.default_rng(0)
    centres = chance.uniform(0, 255, (40, 128)).astype(np.float32)
    asked = chance.integers(0, 256, (7, 128), dtype=np.uint8)
    away = ((asked[:, None].astype(float) - centres) ** 2).sum(axis=2)
    for found, true in zip(find_terms(asked, centres, 5), np.argsort(away, axis=1)[:, :5], strict=True):
        assert set(found) == set(true)


def test_signatures_of_like_features_differ_in_few_bits():
    features: Features = find_features(page(1)[0])
    centre = features.descriptors.mean(axis=0, dtype=np.float32)
    signed = sign(features.descriptors, centre)
    noise = np.random.default_rng(0).integers(-6, 7, features.descriptors.shape)
    noisy = np.clip(features.descriptors + noise, 0, 255).astype(np.uint8)
    differ = np.bitwise_count(signed ^ sign(noisy, centre)).sum(axis=1)
    assert np.median(differ) < 12
    assert np.median(np.bitwise_count(signed[1:] ^ signed[:-1]).sum(axis=1)) > 40
