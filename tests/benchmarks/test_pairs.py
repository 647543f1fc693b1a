"""The sets that pairing is measured on: what is true of them is true."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.pair_pages import make_pair
from benchmarks.pair_sets import page_paths, write_set
from benchmarks.pairs import Outcome, registered
from datasets.page import decode, encode
from imaging.local_features import find_features
from imaging.matching import fit, moved
from tests.imaging.editions import page


@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_made_page_lies_where_it_is_said_to(part: bool, seed: int) -> None:
    color = page(2)[1]
    made = make_pair("2", color, color, None, np.random.default_rng(seed), part)
    assert made.color is not None
    assert made.gray is not None
    gray = decode(made.gray)[..., 0]
    found = fit(find_features(decode(made.color)), find_features(gray))
    assert found is not None
    rows, columns = made.where.shape[:2]
    x, y = np.meshgrid(np.arange(columns) * made.step + 0.5, np.arange(rows) * made.step + 0.5)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    off = np.linalg.norm(moved(points, found.homography) - made.where.reshape(-1, 2), axis=1)
    assert np.median(off) < 1.5
    assert made.differs.shape == gray.shape
    assert 0 < (made.differs > 0).mean() < 0.5


def test_a_set_says_which_pictures_have_a_page(tmp_path: Path) -> None:
    for number in range(1, 7):
        (tmp_path / f"{number}.jpg").write_bytes(encode(page(number)[1], "jpeg"))
    truth = write_set(page_paths([tmp_path], None, 6, 0), tmp_path / "set", 4)
    have = {path.relative_to(tmp_path / "set/gray").as_posix() for path in (tmp_path / "set/gray").rglob("*.jpg")}
    assert {known.gray for known in truth.values() if known.gray} <= have
    assert any(known.gray is None for known in truth.values())
    outcome = Outcome(tmp_path / "set", truth)
    sure = [one for one in outcome.matches.values() if one.confidence >= 0.9]
    assert sure
    assert all(outcome.right(one) for one in sure)
    assert not any(outcome.known(one.color).gray is None for one in sure)
    high, own, *_ = registered(outcome, sure[0])
    assert own < high < 3
