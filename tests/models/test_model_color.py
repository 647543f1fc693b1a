"""The conversions that gradients flow through, against those of imaging."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from imaging.color import lightness_of_level, to_lab
from models.color import lab_to_rgb, lightness, rgb_of_yuv, yuv_of


def colors(count: int = 4096) -> np.ndarray:
    """(1, count, 3) sRGB levels, the eight corners of the cube and the darkest levels among them."""
    drawn = np.random.default_rng(1).integers(0, 256, (count - 16, 3))
    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)])
    dark = np.array([[r, g, b] for r in (0, 4) for g in (0, 11) for b in (1, 2)])
    return np.concatenate([drawn, corners, dark]).astype(np.uint8)[None]


def image(values: np.ndarray) -> Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(values).permute(2, 0, 1)[None].float()


def test_lightness_is_that_of_imaging() -> None:
    ink = torch.arange(256).float().view(1, 1, 16, 16) / 127.5 - 1

    torch.testing.assert_close(lightness(ink).flatten(), torch.from_numpy(lightness_of_level()), atol=1e-3, rtol=0)


def test_lab_to_rgb_undoes_imaging_s_to_lab() -> None:
    levels = colors()
    lab = image(to_lab(levels))

    rgb = lab_to_rgb(lab[:, :1], lab[:, 1:])

    assert rgb.shape == lab.shape
    torch.testing.assert_close(rgb * 255, image(levels), atol=0.05, rtol=0)


def test_a_gray_page_comes_back_from_its_lightness() -> None:
    ink = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1

    rgb = lab_to_rgb(lightness(ink), torch.zeros(2, 2, 8, 8))

    torch.testing.assert_close(rgb, ((ink + 1) / 2).expand(-1, 3, -1, -1), atol=1e-4, rtol=0)


def test_what_is_out_of_gamut_is_cut_off() -> None:
    light = torch.tensor([-5.0, 0.0, 50.0, 100.0, 120.0]).view(1, 1, 1, 5)
    rgb = lab_to_rgb(light, torch.full((1, 2, 1, 5), 110.0))

    assert float(rgb.min()) == 0
    assert 1 - 1e-6 < float(rgb.max()) <= 1
    assert bool(rgb.isfinite().all())


def clamp_open_at_its_ends(value: Tensor, min: float, max: float = torch.inf) -> Tensor:
    """As in some versions of torch: the gradient goes through where `value` is just `min` or `max`."""
    raised = torch.where(value < min, torch.full_like(value, min), value)
    return torch.where(raised > max, torch.full_like(value, max), raised)


@pytest.mark.parametrize("clamp", [Tensor.clamp, clamp_open_at_its_ends])
def test_gradients_are_finite_everywhere(clamp: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Black, white, the bends of both curves, and far outside the gamut."""
    monkeypatch.setattr(Tensor, "clamp", clamp)
    bends = [2 * 0.04045 - 1, -1.0, 1.0, 0.0, -1.1, 1.1]
    ink = torch.tensor(bends).view(1, 1, 1, -1).requires_grad_()
    lightness(ink).sum().backward()
    assert ink.grad is not None
    assert bool(ink.grad.isfinite().all())

    black = torch.linspace(-2e-5, 2e-5, 81).view(1, 1, 1, -1).requires_grad_()  # some come to a linear light of just 0
    lab_to_rgb(black, torch.zeros(1, 2, 1, 81)).sum().backward()
    assert black.grad is not None
    assert bool(black.grad.isfinite().all())

    light = torch.tensor([0.0, 8.0, 0.028, 50.0, 100.0, -20.0, 130.0]).repeat(3).view(1, 1, 1, -1).requires_grad_()
    ab = torch.tensor([0.0, 110.0, -110.0]).repeat_interleave(7).view(1, 1, 1, -1).repeat(1, 2, 1, 1).requires_grad_()
    lab_to_rgb(light, ab).sum().backward()
    for leaf in (light, ab):
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


def test_gradients_are_the_slopes() -> None:
    """Within the gamut, by differences."""
    light = torch.tensor([30.0, 60.0, 80.0]).view(1, 1, 1, 3)
    ab = torch.tensor([[10.0, -20.0, 5.0], [15.0, 10.0, -12.0]]).view(1, 2, 1, 3).requires_grad_()
    lab_to_rgb(light, ab).square().sum().backward()
    assert ab.grad is not None
    for channel in range(2):
        step = torch.zeros(1, 2, 1, 1)
        step[:, channel] = 0.5
        with torch.no_grad():
            above, below = (lab_to_rgb(light, ab + sign * step).square().sum((0, 1, 2)) for sign in (1, -1))
        torch.testing.assert_close(ab.grad[0, channel, 0], above - below, atol=1e-5, rtol=2e-2)


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [
        ((1, 0, 0), (0.299, -0.147, 0.615)),
        ((0, 1, 0), (0.587, -0.289, -0.515)),
        ((0, 0, 1), (0.114, 0.436, -0.100)),
        ((1, 1, 1), (1, 0, 0)),
    ],
)
def test_yuv_is_the_analog_one_of_bt_601(rgb: tuple[float, ...], yuv: tuple[float, ...]) -> None:
    out = yuv_of(torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1)).flatten()

    torch.testing.assert_close(out, torch.tensor(yuv, dtype=torch.float32), atol=6e-4, rtol=0)


def test_yuv_comes_back() -> None:
    rgb = image(colors()) / 255

    torch.testing.assert_close(rgb_of_yuv(yuv_of(rgb)), rgb, atol=1e-5, rtol=0)


def test_the_arithmetic_is_in_float32_whatever_comes() -> None:
    ink = torch.rand(1, 1, 8, 8).bfloat16()
    ab = torch.rand(1, 2, 8, 8).bfloat16() * 20
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outs = lightness(ink), lab_to_rgb(lightness(ink), ab), yuv_of(ab.repeat(1, 2, 1, 1)[:, :3])
    exact = lightness(ink.float()), lab_to_rgb(lightness(ink.float()), ab.float())

    assert all(out.dtype == torch.float32 for out in outs)
    assert all(torch.equal(out, wanted) for out, wanted in zip(outs, exact, strict=False))
