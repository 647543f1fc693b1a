"""What pairs are worth to a training: the true pairs are true, and each data set differs in what it is named for."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import pair_training
from benchmarks.pair_pages import MadePair, blank, make_pair
from benchmarks.pair_sets import Known
from benchmarks.pair_training import paper_of, verdicts
from benchmarks.pairs import grid
from benchmarks.true_pairs import shown_at, true_pair
from datasets.page import decode, encode
from datasets.shards import ShardSet
from tests.imaging.editions import page
from tests.untrained import publish_untrained


def known(part: bool, seed: int) -> Known:
    color = page(2)[1]
    made: MadePair = make_pair("2", color, color, None, np.random.default_rng(seed), part)
    assert made.color is not None
    height, width = decode(made.color).shape[:2]
    return Known("ch000/0000.jpg", made.kind, (width, height), made)


@pytest.mark.parametrize("part", [False, True])
def test_a_pixel_of_the_page_shows_the_point_that_was_moved_there(part: bool) -> None:
    one = known(part, 0)
    assert one.made.gray is not None
    points, where = grid(one)
    height, width = decode(one.made.gray).shape[:2]
    matrix, _ = cv2.findHomography(points, where)
    at = shown_at(one.made, matrix, (0, 0, width, height))
    inside = ((where > 1) & (where < [width - 1, height - 1])).all(axis=1)
    back = cv2.remap(at, (where[inside, None] - 0.5).astype(np.float32), None, cv2.INTER_LINEAR)[:, 0]
    assert np.abs(back - points[inside]).max() < 0.1


def test_a_true_pair_masks_other_lettering_blank_margins_and_what_the_picture_does_not_reach() -> None:
    one = known(False, 2)  # has no margins of its own
    row = true_pair(one, 3)
    assert (row.index, row.chapter, row.name) == (3, "ch000", "0000.jpg")
    assert decode(row.gray or b"").shape == decode(row.color or b"").shape == (row.height, row.width, 3)
    masked = row.decode_mask((row.height, row.width))
    assert masked is not None
    lettering = (one.made.differs > 0).sum()
    assert 1000 < masked.sum() - lettering < 0.05 * masked.size  # where the page is turned the picture does not reach

    gray, frame = decode(one.made.gray or b"")[..., 0], (40, 60, 0, 0)
    blank(gray, frame, 255)
    framed = true_pair(replace(one, made=replace(one.made, gray=encode(gray, "png"), frame=frame)), 3)
    with_margins, colors = framed.decode_mask(masked.shape), decode(row.color or b"")
    assert with_margins is not None
    art, white = colors.min(axis=2) < 200, colors.min(axis=2) > 240
    assert with_margins[:, :20][art[:, :20]].all()
    assert (with_margins == masked)[white].all()
    assert (with_margins == masked)[:, 60:-80].all()


def test_bubbles_are_white_where_the_art_is_not() -> None:
    truth = np.full((60, 80, 3), 255, np.uint8)
    art = truth.copy()
    art[10:40, 10:50] = (200, 90, 40)
    art[50, 70] = 0
    inside = paper_of(truth, art)
    assert inside[10:40, 10:50].all()
    assert inside.sum() == 30 * 40
    truth[10:40, 10:50] = (240, 200, 180)
    assert not paper_of(truth, art).any()


def test_a_mean_lies_within_the_spread_of_the_true_pairs_or_not() -> None:
    def runs(*values: float) -> list[dict[str, float]]:
        return [dict.fromkeys(pair_training.FIGURES, value) for value in values]

    found = verdicts({"true": runs(1, 3, 2), "automatic": runs(2.9, 2.8), "no mask": runs(3.2, 3.0), "none": runs(0.5)})
    lines = [line for line in found if line.startswith("CIEDE2000")]
    assert [line.split(", ")[2].split()[0] for line in lines] == ["within", "above", "below"]


def test_sets_are_made_trained_on_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        for edition in ("color", "art"):
            picture = page(number)[1].copy()
            if edition == "color":
                cv2.ellipse(picture, (320, 300), (150, 60), 0, 0, 360, (255, 255, 255), -1)
            place = tmp_path / edition / ("ep2" if number == 5 else "ep1") / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encode(picture, "png"))
    seen = []

    def untrained(data: str, out: Path, seed: int, options: dict[str, object]) -> str:
        seen.append((Path(data).name, seed, options["max_steps"]))
        publish_untrained(out / "model", image_size=32, base_channels=4)
        return str(out / "model")

    monkeypatch.setattr(pair_training, "trained", untrained)
    words = ["--pages", tmp_path / "color", "--art", tmp_path / "art", "--holdout", "ep2", "--out", tmp_path / "out"]
    options = [str(word) for word in (*words, "--seeds", "5", "--steps", 7)]
    result = CliRunner().invoke(pair_training.main, options, catch_exceptions=False)

    assert seen == [("true", 5, 7), ("automatic", 5, 7), ("no-mask", 5, 7)]
    assert result.output.count("\n| true |") == result.output.count("\n| no mask |") == 1
    sets = {name: ShardSet.open(str(tmp_path / "out" / name)) for name in ("true", "automatic", "no-mask")}
    count = sets["automatic"].examples("train", "pairs")
    assert 0 < count <= sets["true"].examples("train", "pairs")
    assert sets["no-mask"].examples("train", "pairs") == count
    assert [sets[name].masked for name in sets] == [True, True, False]
    rows = [[row for row in sets[name].read("train") if row.gray and row.color] for name in ("automatic", "no-mask")]
    assert [row.color for row in rows[0]] == [row.color for row in rows[1]]
    assert (tmp_path / "out/runs/true-5/pages/ep2-5.jpg").exists()

    same = CliRunner().invoke(pair_training.main, [*options, "--art", str(tmp_path / "color")])
    assert same.exit_code == 2
    assert "--holdout ep2: no page of these chapters has a bubble" in " ".join(same.output.split())
