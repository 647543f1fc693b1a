"""How well colour pictures find their pages, how sure that is, and how well they lie on the ink.

python -m benchmarks.pairs --pages DATA/storybooks --pages DATA/climate-frogs --pages DATA/page-blanche --seeds 1,2,3
python -m benchmarks.pairs --fit --pages DATA/peppercarrot --art DATA/peppercarrot-art --seeds 0

Each seed gives a set of its own (benchmarks.pair_pages says what is done to a page). A pair is right where the picture
lies on its own page, and its corners lie within a hundredth of the page's height of where they belong.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.pair_sets import Known, page_paths, write_set
from datasets.page import decode
from imaging.confidence import NAMES, evidence
from imaging.matching import moved
from imaging.registration import register
from jobs.parts.pair.assign import Match, assign
from jobs.parts.pair.match import Fits, look, match
from jobs.parts.pair.pictures import find_pictures
from jobs.parts.runtime.local import LocalPool
from jobs.parts.source.failure import Failure

_RIGHT = 0.01  # of the page's height
_REGISTERED = 40  # pairs of a seed whose registration is measured
_RIDGE = 0.05
_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)


class Outcome:
    """What a pairing made of a set."""

    def __init__(self, folder: Path, truth: Mapping[str, Known]) -> None:
        self.folder, self.truth = folder, truth
        failures: list[Failure] = []
        begun = time.perf_counter()
        with LocalPool() as pool:
            groups = {side: find_pictures(str(folder / side), 16, failures) for side in ("color", "gray")}
            out = str(folder / "out")
            self.color, self.gray = (look(pool, groups[side], out, side) for side in ("color", "gray"))
            looked = time.perf_counter()
            self.fits: Fits = match(pool, self.color, self.gray, out, 0.9)
        self.seconds = looked - begun, time.perf_counter() - looked
        self.matches = self.best({})

    def best(self, decisions: Mapping[tuple[int, int], bool]) -> dict[int, Match]:
        """The surest match of each picture."""
        matches, _ = assign(self.fits, self.color.sizes, self.gray.sizes, decisions)
        found: dict[int, Match] = {}
        for one in matches:
            found.setdefault(one.color, one)
        return found

    def known(self, picture: int) -> Known:
        """What is true of a picture."""
        return self.truth[self.color.name(picture)]

    def right(self, one: Match) -> bool:
        """Whether a match is right."""
        known = self.known(one.color)
        if known.gray != self.gray.name(one.gray):
            return False
        points, where = grid(known)
        off = np.linalg.norm(moved(points, one.fit.homography) - where, axis=1)
        return bool(np.median(off) < _RIGHT * self.gray.sizes[one.gray][1])


def grid(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """(points of the picture, where they lie on the page)."""
    rows, columns = known.made.where.shape[:2]
    x, y = np.meshgrid(np.arange(columns) * known.made.step + 0.5, np.arange(rows) * known.made.step + 0.5)
    return np.stack([x.ravel(), y.ravel()], axis=1), known.made.where.reshape(-1, 2)


def registered(outcome: Outcome, one: Match) -> tuple[float, float, float, float, float]:
    """(median error in pixels at a height of 1,600, the same in pixels of the page, 95th percentile at 1,600, share of
    other lettering that is masked, share of the rest that is masked).
    """
    known = outcome.known(one.color)
    assert known.made.color is not None
    assert known.made.gray is not None
    color, gray = decode(known.made.color), decode(known.made.gray)[..., 0]
    found = register(color, gray, one.fit.homography)
    assert found is not None
    left, top, right, bottom = found.box
    points, where = grid(known)
    at = moved(points, found.onto)
    inside = (at >= 0).all(axis=1) & (at < [right - left, bottom - top]).all(axis=1)
    at, where = at[inside].astype(np.float32), where[inside] - [left, top]
    warp = cv2.resize(found.warp, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    moves = cv2.remap(warp, at[None] - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    off = np.linalg.norm(at - moves - where, axis=1)
    scale = 1600 / gray.shape[0]
    differs = known.made.differs[top:bottom, left:right] > 0
    reached = cv2.warpPerspective(np.full(color.shape[:2], 255, np.uint8), found.onto, (right - left, bottom - top)) > 0
    other, rest = differs & reached, ~differs & reached
    masked = found.masked
    share = float(masked[other].mean()) if other.sum() > 200 else float("nan")
    return float(np.median(off)) * scale, float(np.median(off)), float(np.percentile(off, 95)) * scale, share, float(
        masked[rest].mean()
    )  # fmt: skip


def report(outcomes: Sequence[Outcome], accept: float) -> None:
    """Print the tables."""
    rows: list[tuple[str, float, bool]] = []
    have, found, misses = Counter[str](), Counter[str](), []
    for outcome in outcomes:
        for picture in range(len(outcome.color.kept)):
            known, one = outcome.known(picture), outcome.matches.get(picture)
            sure = one.confidence if one else 0.0
            right = one is not None and outcome.right(one)
            rows.append((known.kind, sure, right))
            have[known.kind] += known.gray is not None
            found[known.kind] += right and sure >= accept
            if (sure >= accept) != right:
                features = [round(value, 2) for value in evidence(one.fit, one.second)] if one else []
                misses.append(f"{known.made.name} {known.kind} {sure:.2f} {'right' if right else 'wrong'} {features}")
    taken = [right for _, sure, right in rows if sure >= accept]
    click.echo(f"{len(rows)} colour pictures, {sum(have.values())} with a page, {len(taken)} taken at {accept}")
    click.echo(f"precision {np.mean(taken):.4f}, recall {sum(found.values()) / sum(have.values()):.4f}")
    for kind in have:
        if have[kind]:
            click.echo(f"| {kind} | {found[kind]} of {have[kind]} | {found[kind] / have[kind]:.3f} |")
    click.echo("| confidence | pictures | mean confidence | right |\n|" + " --- |" * 4)
    for low, high in pairwise(_BINS):
        part = [(sure, right) for _, sure, right in rows if low <= sure < high or (high == 1 and sure == 1)]
        if part:
            click.echo(
                f"| {low}-{high} | {len(part)} | " + " | ".join(f"{v:.3f}" for v in np.mean(part, axis=0)) + " |"
            )
    for miss in misses:
        click.echo(miss)


def report_registration(outcomes: Sequence[Outcome], accept: float) -> None:
    """Print how well pairs lie on the ink."""
    measured = []
    for outcome in outcomes:
        pairs = [one for one in outcome.matches.values() if one.confidence >= accept and outcome.right(one)]
        measured += [registered(outcome, one) for one in pairs[:_REGISTERED]]
    values = np.array(measured)
    median, own, high, lettering, rest = np.nanmedian(values, axis=0)
    click.echo(
        f"registration of {len(values)} pairs: median error {median:.2f} px at a height of 1,600 ({own:.2f} px of the "
        f"page; under 1 px in {np.mean(values[:, 0] < 1):.3f} and {np.mean(values[:, 1] < 1):.3f} of the pairs), "
        f"95th percentile {high:.2f} px; masked: {np.nanmean(values[:, 3]):.3f} of other lettering (median "
        f"{lettering:.3f}), {np.nanmean(values[:, 4]):.3f} of the rest (median {rest:.3f})"
    )


def fit_coefficients(outcomes: Sequence[Outcome]) -> np.ndarray:
    """The coefficients of imaging.confidence, by ridge logistic regression (Newton's method).

    Each picture counts with its best match. It counts once more with the best one after its own page is taken away, by
    the share of pictures that have none.
    """
    features, labels, counts = [], [], []
    for outcome in outcomes:
        kept = range(len(outcome.color.kept))
        own = {
            (i, j): False
            for i, found in outcome.fits.items()
            for j, _ in found
            if outcome.gray.name(j) == outcome.known(i).gray
        }
        alone = sum(outcome.known(i).gray is None for i in kept) / len(kept)
        for matches, weight in ((outcome.matches, 1.0), (outcome.best(own), alone)):
            for one in matches.values():
                features.append(evidence(one.fit, one.second))
                labels.append(outcome.right(one))
                counts.append(weight)
    x, y, weight_of = np.array(features), np.array(labels, float), np.array(counts)
    click.echo(f"{len(y)} matches, {int(y.sum())} right")
    spread = np.maximum(x.std(axis=0), 1e-9)
    spread[0] = 1
    scaled, weights = x / spread, np.zeros(x.shape[1])
    ridge = _RIDGE * np.eye(x.shape[1]) * (np.arange(x.shape[1]) > 0)
    for _ in range(100):
        sure = 1 / (1 + np.exp(-scaled @ weights))
        slope = scaled.T @ (scaled * (weight_of * sure * (1 - sure))[:, None]) + ridge + 1e-9 * np.eye(x.shape[1])
        weights = weights + np.linalg.solve(slope, scaled.T @ (weight_of * (y - sure)) - ridge @ weights)
    return np.asarray(weights / spread)


@click.command(context_settings={"show_default": True})
@click.option("--pages", multiple=True, required=True, type=click.Path(path_type=Path), help="Folder of colour pages.")
@click.option("--art", type=click.Path(path_type=Path), help="The pages of the first folder without lettering.")
@click.option("--seeds", default="1,2,3")
@click.option("--most", default=160, help="Pages taken of each folder, by chance.")
@click.option("--accept", default=0.9)
@click.option("--fit", "fitting", is_flag=True, help="Fit the coefficients of the confidence.")
def main(pages: tuple[Path, ...], art: Path | None, seeds: str, most: int, accept: float, fitting: bool) -> None:
    """Print tables."""
    cv2.setNumThreads(1)
    outcomes = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in map(int, seeds.split(",")):
            folder = Path(scratch, str(seed))
            truth = write_set(page_paths(pages, art, most, seed), folder, seed)
            outcomes.append(Outcome(folder, truth))
            looked, matched = outcomes[-1].seconds
            count = len(outcomes[-1].color.kept) + len(outcomes[-1].gray.kept)
            click.echo(f"seed {seed}: {count} pictures looked at in {looked:.0f} s, matched in {matched:.0f} s")
        if fitting:
            listed = zip(NAMES, fit_coefficients(outcomes), strict=True)
            click.echo(", ".join(f"{name} {value:.2f}" for name, value in listed))
        report(outcomes, accept)
        report_registration(outcomes, accept)


if __name__ == "__main__":
    main()
