"""The bins of the ab plane: which they are, soft labels on them, the loss, and the way back."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imaging.color import to_lab
from models.bins import ColorBins, check_classes, gamut_bins, soft_cross_entropy

GRIDS = [(10.0, 313, 5, 5.0), (12.5, 112, 10, 6.25)]  # spacing, count, neighbours, sigma
LEVEL = st.integers(0, 255)


def colors(count: int, seed: int = 0) -> Tensor:
    """ab of random sRGB colours: (1, 2, 1, count)."""
    rgb = np.random.default_rng(seed).integers(0, 256, (1, count, 3), dtype=np.uint8)
    return torch.from_numpy(to_lab(rgb))[..., 1:].permute(2, 0, 1)[None]


def logits_of(bins: ColorBins, indices: Tensor, weights: Tensor) -> Tensor:
    """Logits whose softmax is the soft label."""
    shape = (len(indices), len(bins.centres), *indices.shape[2:])
    return torch.full(shape, -1e4).scatter(1, indices, weights.log())


# The bins.


@pytest.mark.parametrize(("spacing", "count"), [(10.0, 313), (12.5, 112)])
def test_the_bins_are_points_of_the_grid_in_order(spacing: float, count: int) -> None:
    bins = gamut_bins(spacing, count)

    assert bins.shape == (count, 2)
    assert torch.equal(bins, (bins / spacing).round() * spacing)
    assert float(bins.abs().max()) <= 110
    assert bins.tolist() == sorted(bins.tolist())
    assert len(set(map(tuple, bins.tolist()))) == count


def test_the_313_bins_reach_every_color_of_srgb() -> None:
    bins = ColorBins(10.0, 313)
    ab = colors(4000)

    indices, _ = bins.encode(ab, 1, 5.0)

    away = (bins.centres[indices[0, 0, 0]].T - ab[0, :, 0]).abs().amax()
    assert float(away) <= 5.001  # half a cell each way: no colour's own cell is missing


def test_the_313_bins_leave_out_only_what_is_far_from_the_gamut() -> None:
    kept = gamut_bins(10.0, 313)
    axis = torch.arange(-11, 12) * 10.0
    grid = torch.cartesian_prod(axis, axis)
    left_out = grid[~(grid[:, None] == kept).all(2).any(1)]
    ab = colors(20000)[0, :, 0].T

    def distance(points: Tensor) -> Tensor:
        return torch.cdist(points, ab).amin(1)

    assert len(left_out) == 23 * 23 - 313
    assert float(distance(left_out).min()) > float(distance(kept).max()) - 3  # the sample's own coarseness


def test_the_112_bins_are_the_most_frequent() -> None:
    kept = gamut_bins(12.5, 112)
    axis = torch.arange(-8, 9) * 12.5
    grid = torch.cartesian_prod(axis, axis)
    nearest = torch.cdist(colors(40000)[0, :, 0].T, grid).argmin(1)
    frequency = torch.bincount(nearest, minlength=len(grid))
    of_kept = (grid[:, None] == kept).all(2).any(1)

    assert int(of_kept.sum()) == 112
    assert int(frequency[of_kept].min()) > 0.8 * int(frequency[~of_kept].max())
    assert int(frequency[~of_kept].max()) > 0  # 112 is fewer than the gamut has: rare colours lose their bin


def test_the_bins_are_the_same_whatever_the_default_device() -> None:
    with torch.device("meta"):
        on_meta = gamut_bins(10.0, 313)

    assert torch.equal(on_meta, gamut_bins(10.0, 313))


def test_the_bins_of_one_module_are_its_own() -> None:
    ColorBins(10.0, 313).centres.zero_()

    assert float(ColorBins(10.0, 313).centres.abs().max()) > 0


@pytest.mark.parametrize("bins", [0, -1, 4, 530])
def test_an_impossible_number_of_bins_is_refused(bins: int) -> None:
    with pytest.raises(ValueError, match=f"^bins is {bins}; it is 5 to 529"):
        check_classes(bins, 0.38, spacing=10.0, neighbours=5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1.5, math.nan])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"^temperature is {temperature}"):
        check_classes(313, temperature, spacing=10.0, neighbours=5)


# Soft labels.


@pytest.mark.parametrize(("spacing", "count", "neighbours", "sigma"), GRIDS)
def test_a_soft_label_is_a_gaussian_over_the_nearest_bins(
    spacing: float, count: int, neighbours: int, sigma: float
) -> None:
    bins = ColorBins(spacing, count)
    ab = colors(60).reshape(1, 2, 6, 10)

    indices, weights = bins.encode(ab, neighbours, sigma)

    assert indices.shape == weights.shape == (1, neighbours, 6, 10)
    torch.testing.assert_close(weights.sum(1), torch.ones(1, 6, 10))
    for row, column in ((0, 0), (3, 7), (5, 9)):
        distance = [math.dist(ab[0, :, row, column].tolist(), centre) for centre in bins.centres.tolist()]
        order = sorted(range(count), key=distance.__getitem__)[:neighbours]
        share = [math.exp(-(distance[number] ** 2) / (2 * sigma**2)) for number in order]
        found = dict(zip(indices[0, :, row, column].tolist(), weights[0, :, row, column].tolist(), strict=True))
        assert found == pytest.approx({n: s / sum(share) for n, s in zip(order, share, strict=True)}, abs=1e-4)
        assert weights[0, :, row, column].tolist() == sorted(found.values(), reverse=True)  # the nearest bin first


def test_a_large_page_is_encoded_like_its_parts() -> None:
    """More pixels than are looked at at once."""
    bins = ColorBins(10.0, 313)
    ab = colors(40000).reshape(2, 4, 100, 100).transpose(0, 1)

    indices, weights = bins.encode(ab, 5, 5.0)

    for page in range(4):
        part = bins.encode(ab[page : page + 1], 5, 5.0)
        assert torch.equal(part[0][0], indices[page])
        assert torch.equal(part[1][0], weights[page])


def test_a_color_far_from_all_bins_has_a_label() -> None:
    _, weights = ColorBins(10.0, 313).encode(torch.full((1, 2, 1, 1), 1e4), 5, 5.0)

    assert float(weights.sum()) == pytest.approx(1)


@settings(max_examples=60)
@given(rgb=st.tuples(LEVEL, LEVEL, LEVEL))
@pytest.mark.parametrize(("spacing", "count", "neighbours", "sigma"), GRIDS)
def test_decoding_the_encoded_truth_returns_it(
    spacing: float, count: int, neighbours: int, sigma: float, rgb: tuple[int, int, int]
) -> None:
    """To within half the diagonal of a cell, or about as near as the nearest bin is, at the rim of the 112."""
    bins = ColorBins(spacing, count)
    ab = torch.from_numpy(to_lab(np.array([[rgb]], dtype=np.uint8)))[..., 1:].permute(2, 0, 1)[None]
    nearest = float(torch.linalg.vector_norm(bins.centres - ab.flatten(), dim=1).min())

    indices, weights = bins.encode(ab, neighbours, sigma)
    back = bins.decode(logits_of(bins, indices, weights), 1.0)

    assert float(torch.linalg.vector_norm(back - ab)) <= max(nearest, spacing / math.sqrt(2)) + 0.5
    if count == 313:  # no colour without bins around it: the mean of the neighbours is far closer than one bin
        assert float(torch.linalg.vector_norm(back - ab)) < 1


# From logits to a colour.


def test_temperature_1_is_the_mean_and_0_the_likeliest_bin() -> None:
    bins = ColorBins(10.0, 313)
    logits = torch.randn(2, 313, 3, 4, generator=torch.Generator().manual_seed(0))

    mean = torch.einsum("bqhw,qc->bchw", logits.softmax(1), bins.centres)
    likeliest = bins.centres[logits.argmax(1)].permute(0, 3, 1, 2)

    torch.testing.assert_close(bins.decode(logits, 1.0), mean)
    torch.testing.assert_close(bins.decode(logits, 1e-4), likeliest)


def test_the_annealed_mean_is_that_of_equation_5() -> None:
    bins = ColorBins(10.0, 313)
    logits = torch.randn(1, 313, 2, 2, generator=torch.Generator().manual_seed(0))
    annealed = (logits.double().softmax(1).log() / 0.38).exp()
    shares = annealed / annealed.sum(1, keepdim=True)

    expected = (shares[:, :, None] * bins.centres[None, :, :, None, None]).sum(1)

    torch.testing.assert_close(bins.decode(logits, 0.38), expected.float())


def test_autocast_does_not_coarsen_the_colors() -> None:
    bins = ColorBins(10.0, 313)
    logits = torch.randn(1, 313, 2, 2, generator=torch.Generator().manual_seed(0))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        decoded = bins.decode(logits, 0.38)

    assert torch.equal(decoded, bins.decode(logits, 0.38))


def test_a_painted_page_has_the_size_and_range_of_a_target() -> None:
    bins = ColorBins(10.0, 313)
    logits = 20 * torch.randn(2, 313, 4, 5, generator=torch.Generator().manual_seed(0))
    ab = bins.decode(logits, 0.38)

    decoded = bins.decode_target(logits, 0.38, (16, 20))

    assert decoded.shape == (2, 2, 16, 20)
    torch.testing.assert_close(decoded, F.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False) / 110)
    torch.testing.assert_close(bins.decode_target(logits, 0.38, (4, 5)), ab / 110)
    bins.centres.mul_(3)  # published centres may lie anywhere
    assert float(bins.decode_target(logits, 0.38, (16, 20)).abs().max()) == 1


# The loss.


def label(count: int, height: int = 6, width: int = 7, neighbours: int = 5) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    indices = torch.rand(2, count, height, width, generator=draw).argsort(1)[:, :neighbours]
    return indices, torch.rand(2, neighbours, height, width, generator=draw).softmax(1)


@pytest.mark.parametrize("count", [313, 112])
def test_equal_logits_cost_ln_of_the_bins(count: int) -> None:
    assert float(soft_cross_entropy(torch.full((2, count, 6, 7), 3.0), *label(count))) == pytest.approx(math.log(count))


def test_the_loss_is_the_cross_entropy_of_the_label() -> None:
    indices, weights = label(20)
    logits = torch.randn(2, 20, 6, 7, generator=torch.Generator().manual_seed(1))
    dense = torch.zeros(2, 20, 6, 7).scatter(1, indices, weights)

    expected = F.cross_entropy(logits, dense)  # torch's own, of class probabilities

    torch.testing.assert_close(soft_cross_entropy(logits, indices, weights), expected)


def test_the_softmax_is_over_the_bins() -> None:
    """What one pixel costs does not hang on the others: shuffled together they cost the same, and one alone its own."""
    indices, weights = label(20, 1, 9)
    logits = torch.randn(2, 20, 1, 9, generator=torch.Generator().manual_seed(1), requires_grad=True)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))

    whole = soft_cross_entropy(logits, indices, weights)
    shuffled = soft_cross_entropy(logits[..., order], indices[..., order], weights[..., order])
    alone = [soft_cross_entropy(logits[..., [x]], indices[..., [x]], weights[..., [x]]) for x in range(9)]
    whole.backward()

    torch.testing.assert_close(shuffled, whole)
    torch.testing.assert_close(torch.stack(alone).mean(), whole)
    assert logits.grad is not None
    torch.testing.assert_close(
        logits.grad.sum(1), torch.zeros(2, 1, 9), atol=1e-7, rtol=0
    )  # shares of a pixel sum to 1


@pytest.mark.parametrize(("side", "plateau"), [(224, 4848.8), (50, 174.6)])
def test_a_softmax_over_pixels_stays_where_the_write_up_was_stuck(side: int, plateau: float) -> None:
    pixels, bins = side * side, 112
    truth = torch.randint(bins, (1, 1, side, side), generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 1, side, side)
    logits = torch.zeros(1, bins, side, side)

    over_pixels = logits.flatten(2).log_softmax(2).view_as(logits)
    stuck = -(weights * over_pixels.gather(1, truth)).sum() / bins

    assert float(stuck) == pytest.approx(pixels / bins * math.log(pixels), rel=1e-4)
    assert float(stuck) == pytest.approx(plateau, abs=0.05)
    assert float(soft_cross_entropy(logits, truth, weights)) == pytest.approx(math.log(bins))


def test_the_weight_of_a_pixel_multiplies_its_cost() -> None:
    indices, weights = label(20)
    logits = torch.randn(2, 20, 6, 7, generator=torch.Generator().manual_seed(1))
    left = torch.zeros(2, 6, 7)
    left[..., :3] = 2.0

    weighted = soft_cross_entropy(logits, indices, weights, left)

    of_left = soft_cross_entropy(logits[..., :3], indices[..., :3], weights[..., :3])
    torch.testing.assert_close(weighted, of_left * 2 * 3 / 7)


def test_the_loss_of_bfloat16_logits_is_float32() -> None:
    indices, weights = label(313)
    logits = torch.randn(2, 313, 6, 7, generator=torch.Generator().manual_seed(1)).bfloat16()

    loss = soft_cross_entropy(logits, indices, weights)

    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_cross_entropy(logits.float(), indices, weights))
