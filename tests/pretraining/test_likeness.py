"""By what pages of one story are told from those of others."""

import numpy as np

from pretraining.likeness import discriminant_axes, least_likeness, story_of
from pretraining.sources import Picture


def test_the_axes_part_the_classes_and_overlook_what_varies_within_them() -> None:
    rng = np.random.default_rng(0)
    stories = np.repeat(np.arange(8), 12)
    places = rng.normal(0, 1, (8, 2))[stories]  # what tells stories apart
    loud = rng.normal(0, 50, (len(stories), 2))  # what does not
    rows = np.concatenate([loud, places + rng.normal(0, 0.1, places.shape)], axis=1) + 7

    mean, axes = discriminant_axes(rows, stories, 2)

    seen = (rows - mean) @ axes
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
    same = stories[:, None] == stories
    nearest = np.where(np.eye(len(rows), dtype=bool), np.inf, apart).argmin(axis=1)
    assert (stories[nearest] == stories).mean() > 0.9
    assert apart[same].mean() < 0.3 * apart[~same].mean()
    np.testing.assert_allclose(mean, rows.mean(axis=0))


def test_the_least_likeness_is_one_that_few_strangers_reach() -> None:
    rng = np.random.default_rng(1)
    described = rng.normal(0, 1, (200, 8))
    described /= np.linalg.norm(described, axis=1, keepdims=True)
    stories = np.repeat(np.arange(40), 5)

    least = least_likeness(described, stories)

    likeness = described @ described.T
    best = [
        max(likeness[page, np.flatnonzero(stories == other)[:3]])
        for page in range(200) for other in range(40) if other != stories[page]
    ]  # fmt: skip
    assert 0.03 < (np.array(best) >= least).mean() < 0.07


def test_the_least_likeness_is_that_of_the_first_three_pictures_of_another_story() -> None:
    stories = np.repeat([0, 1], [40, 4])
    described = np.eye(2)[np.array([0] * 40 + [1, 1, 1, 0])]  # the last one is as all of the other story are

    assert least_likeness(described, stories) == 0


def test_both_editions_of_a_chapter_are_one_story_and_no_others_are() -> None:
    names = [("peppercarrot", "ep01"), ("peppercarrot-art", "ep01"), ("peppercarrot", "ep02"), ("storybooks", "ep01")]
    told = [story_of(Picture(series, story, "1.jpg", "x")) for series, story in names]

    assert told[0] == told[1]
    assert len(set(told)) == 3
