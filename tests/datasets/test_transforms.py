"""Augmentation: ink and truth stay together, saturation moves, hue does not."""

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datasets.encoding import encode_ink, encode_target
from datasets.transforms import AUGMENTS, Augment, resize_for
from imaging.target import PAPER

SIZE = 32
ROOM = resize_for(SIZE, "pix2pix")
CHANNELS = {"ab": 2, "rgb": 3}
spaces = pytest.mark.parametrize("space", CHANNELS)


def numbered(batch: int) -> Tensor:
    """Return ink whose levels show where a pixel came from: a ramp to the right, mixed with one downwards."""
    across, down = torch.arange(ROOM).view(1, 1, 1, ROOM), torch.arange(ROOM).view(1, 1, ROOM, 1)
    return (3 * across + 4 * down).to(torch.uint8).expand(batch, 1, ROOM, ROOM).contiguous()


def truth_of(ink: Tensor, space: str) -> Tensor:
    """Return a target that repeats the ink in every channel."""
    stored = (ink.int() - 128).clamp(-110, 110).to(torch.int8) if space == "ab" else ink
    return stored.expand(-1, CHANNELS[space], -1, -1).contiguous()


def augmented(space: str, saturation: float, ink: Tensor, target: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return Augment(SIZE, space, saturation)(ink, target)[:2]


@pytest.mark.parametrize(("size", "squeezed"), [(256, 286), (128, 143), (512, 572), (1024, 1144)])
def test_pages_are_squeezed_to_the_published_ratio(size: int, squeezed: int) -> None:
    assert resize_for(size, "pix2pix") == squeezed


@spaces
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_crop_and_flip_take_ink_and_truth_alike(space: str, seed: int) -> None:
    ink = numbered(4)

    cut_ink, cut_target = augmented(space, 0.0, ink, truth_of(ink, space), seed)

    assert cut_ink.shape == (4, 1, SIZE, SIZE)
    assert cut_target.shape == (4, CHANNELS[space], SIZE, SIZE)
    levels = ((cut_ink + 1) * 127.5).round().to(torch.uint8)
    expected = encode_target(truth_of(levels, space), space)
    torch.testing.assert_close(cut_target, expected, atol=1e-5, rtol=0)


def test_a_cut_is_a_window_of_the_page_as_it_is_or_mirrored() -> None:
    ink = numbered(1)
    page = ink[0, 0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(page, (SIZE, SIZE))
    found = set()
    for seed in range(40):
        cut = augmented("rgb", 0.0, ink, truth_of(ink, "rgb"), seed)[0]
        levels = ((cut[0, 0] + 1) * 127.5).round().numpy().astype(np.uint8)
        for mirrored, window in ((False, levels), (True, levels[:, ::-1])):
            places = np.argwhere((windows == window).all(axis=(2, 3)))
            found |= {(mirrored, *place) for place in places.tolist()}

    assert {mirrored for mirrored, *_ in found} == {False, True}
    assert len({(top, left) for _, top, left in found}) > 5
    assert all(0 <= top <= ROOM - SIZE and 0 <= left <= ROOM - SIZE for _, top, left in found)


def test_each_page_of_a_batch_is_cut_on_its_own() -> None:
    ink = numbered(16)

    cut, _ = augmented("ab", 0.0, ink, truth_of(ink, "ab"))

    assert len({example.numpy().tobytes() for example in cut}) > 5


@given(st.floats(-110, 110), st.floats(-110, 110), st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=60)
def test_saturation_stays_in_its_range_and_hue_where_it_is(a: float, b: float, saturation: float, seed: int) -> None:
    """The chroma stays within [-1, 1] at any factor; beyond, each channel would be cut off on its own."""
    chroma = (torch.tensor([a, b]) / (1 + saturation)).round()
    target = chroma.to(torch.int8).view(1, 2, 1, 1).expand(8, 2, ROOM, ROOM).contiguous()

    _, cut = augmented("ab", saturation, numbered(8), target, seed)

    made = cut * 110
    length = float(chroma.norm())
    cross = made[:, 0] * chroma[1] - made[:, 1] * chroma[0]
    assert float(cross.abs().max()) <= 1e-3 * max(length, 1)
    inside = (made[:, 0] * chroma[0] + made[:, 1] * chroma[1]) / max(length**2, 1)
    if length:
        assert float(inside.min()) >= 1 - saturation - 1e-3
        assert float(inside.max()) <= 1 + saturation + 1e-3
        assert float((inside.amax((1, 2)) - inside.amin((1, 2))).max()) < 1e-3  # one factor for a whole page


def test_saturation_uses_its_whole_range_and_each_page_has_its_own() -> None:
    target = torch.tensor([30, -20], dtype=torch.int8).view(1, 2, 1, 1).expand(400, 2, ROOM, ROOM).contiguous()

    _, cut = augmented("ab", 0.5, numbered(400), target)

    factors = cut[:, 0, 0, 0] * 110 / 30
    assert 0.5 - 1e-4 <= float(factors.min()) < 0.55
    assert 1.45 < float(factors.max()) <= 1.5 + 1e-4
    assert float(factors.mean()) == pytest.approx(1, abs=0.05)


def test_full_saturation_never_turns_a_hue_around_when_it_is_cut_off() -> None:
    blue = torch.tensor([79, -108], dtype=torch.int8).view(1, 2, 1, 1).expand(64, 2, ROOM, ROOM).contiguous()

    _, cut = augmented("ab", 0.5, numbered(64), blue)

    hue = torch.atan2(cut[:, 1], cut[:, 0]).rad2deg()
    assert float((hue - np.degrees(np.arctan2(-108, 79))).abs().max()) < 1


def test_the_hue_of_an_rgb_page_stays_where_it_is() -> None:
    color = (150, 110, 90)
    target = torch.tensor(color, dtype=torch.uint8).view(1, 3, 1, 1).expand(64, 3, ROOM, ROOM).contiguous()

    ink, cut = augmented("rgb", 0.5, numbered(64), target)

    hue, _, _ = colorsys.rgb_to_hls(*(level / 255 for level in color))
    made = [colorsys.rgb_to_hls(*((page[:, 0, 0] + 1) / 2).tolist()) for page in cut]
    assert max(abs(h - hue) for h, _, _ in made) < 1e-4
    assert len({round(s, 4) for _, _, s in made}) > 30
    luma = cut[:, 0] * 0.299 + cut[:, 1] * 0.587 + cut[:, 2] * 0.114
    assert float((luma - luma.mean()).abs().max()) < 1e-5
    assert ink.abs().max() <= 1


@spaces
def test_a_gray_page_stays_gray(space: str) -> None:
    gray = torch.zeros(8, 2, ROOM, ROOM, dtype=torch.int8) if space == "ab" else numbered(8).expand(-1, 3, -1, -1)

    _, cut = augmented(space, 1.0, numbered(8), gray.contiguous())

    assert float((cut - cut.mean(1, keepdim=True)).abs().max()) < 1e-5


@spaces
def test_the_jitter_leaves_the_ink_alone(space: str) -> None:
    ink = numbered(4)

    without, _ = augmented(space, 0.0, ink, truth_of(ink, space), seed=5)
    with_jitter, _ = augmented(space, 0.9, ink, truth_of(ink, space), seed=5)

    assert torch.equal(without, with_jitter)


@spaces
def test_a_seed_repeats_itself_and_another_does_not(space: str) -> None:
    ink = numbered(4)
    truth = truth_of(ink, space)

    first, again, other = (augmented(space, 0.5, ink, truth, seed) for seed in (7, 7, 8))

    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_stored_numbers_become_those_of_the_network() -> None:
    levels = torch.tensor([0, 255], dtype=torch.uint8)

    assert encode_ink(levels).tolist() == [-1, 1]
    assert encode_target(levels, "rgb").tolist() == [-1, 1]
    units = encode_target(torch.tensor([-110, -55, 0, 110], dtype=torch.int8), "ab")
    assert units.tolist() == [-1, -0.5, 0, 1]


@spaces
@given(saturation=st.floats(0, 1), seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_what_comes_out_is_always_in_range(space: str, saturation: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high, kind = (-108, 109, np.int8) if space == "ab" else (0, 256, np.uint8)
    target = torch.from_numpy(rng.integers(low, high, (2, CHANNELS[space], ROOM, ROOM), dtype=kind))

    ink, cut = augmented(space, saturation, numbered(2), target, seed)

    assert ink.dtype == cut.dtype == torch.float32
    assert float(cut.abs().max()) <= 1
    assert float(ink.abs().max()) <= 1


# The other augmentations.


@spaces
def test_without_augmentation_a_page_is_as_it_is_stored(space: str) -> None:
    assert resize_for(SIZE, "none") == SIZE
    ink = numbered(3)[..., :SIZE, :SIZE].contiguous()
    target = truth_of(ink, space)

    plain_ink, plain_target, _ = Augment(SIZE, space, 0.5, "none")(ink, target)

    assert torch.equal(plain_ink, encode_ink(ink))
    torch.testing.assert_close(plain_target, encode_target(target, space), atol=1e-6, rtol=0)


def berserk(space: str, ink: Tensor, target: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return Augment(SIZE, space, 0.9, "berserk")(ink, target)[:2]


@spaces
def test_berserk_turns_ink_and_truth_alike_onto_white_paper(space: str) -> None:
    """Return blank ink with a black square in the middle, and a truth that is coloured just there."""
    room = resize_for(SIZE, "berserk")
    ink = torch.full((64, 1, room, room), 255, dtype=torch.uint8)
    middle = slice(room // 3, 2 * room // 3)
    ink[..., middle, middle] = 0
    target = torch.zeros(64, 2, room, room, dtype=torch.int8) if space == "ab" else ink.repeat(1, 3, 1, 1)
    if space == "ab":
        target[..., middle, middle] = 55

    cut_ink, cut_target = berserk(space, ink, target)

    assert cut_ink.shape == (64, 1, SIZE, SIZE)
    black = cut_ink < -0.999
    white = cut_ink > 0.999
    if space == "ab":
        assert float(cut_target.expand(-1, 2, -1, -1)[white.expand(-1, 2, -1, -1)].abs().max()) < 1e-3
        pages_with_black = [page for page, seen in zip(cut_target, black, strict=True) if seen.any()]
        assert len(pages_with_black) > 30
        assert min(float(page.max()) for page in pages_with_black) >= 0
    else:
        torch.testing.assert_close(cut_target, cut_ink.expand(-1, 3, -1, -1), atol=1e-3, rtol=0)


def test_berserk_takes_colour_away_and_never_turns_it() -> None:
    room = resize_for(SIZE, "berserk")
    ink = torch.full((400, 1, room, room), 128, dtype=torch.uint8)
    target = torch.tensor([30, -20], dtype=torch.int8).view(1, 2, 1, 1).expand(400, 2, room, room).contiguous()

    _, cut = berserk("ab", ink, target)

    middle = cut[:, :, SIZE // 2, SIZE // 2] * 110
    factors = middle[:, 0] / 30
    assert float((middle[:, 0] * -20 - middle[:, 1] * 30).abs().max()) < 1e-2  # one hue
    assert float(factors.max()) <= 1 + 1e-4
    assert 0.4 < float((factors > 0.999).float().mean()) < 0.6  # half of the pages as they are
    assert float(factors.min()) < 0.1


@pytest.mark.parametrize("kind", AUGMENTS)
def test_ink_and_colour_of_other_pages_are_augmented_apart(kind: str) -> None:
    room = resize_for(SIZE, kind)
    ink = torch.full((4, 1, room, room), 200, dtype=torch.uint8)
    color = torch.full((4, 3, room, room), 30, dtype=torch.uint8)
    augment = Augment(SIZE, "rgb", 0.5, kind)

    assert augment.ink(ink)[0].shape == (4, 1, SIZE, SIZE)
    assert augment.color(color)[0].shape == (4, 3, SIZE, SIZE)


@pytest.mark.parametrize("kind", AUGMENTS)
@spaces
def test_a_mask_goes_with_the_page_and_hides_its_colours(space: str, kind: str) -> None:
    """The masked square is the vivid part of the page: what it shows must not reach the saturation of the rest."""
    room = resize_for(SIZE, kind)
    ink = torch.full((32, 1, room, room), 255, dtype=torch.uint8)
    masked = torch.zeros(32, 1, room, room, dtype=torch.uint8)
    middle = (..., slice(room // 3, room // 2), slice(room // 3, 2 * room // 3))
    ink[middle], masked[middle] = 0, 1
    pale = torch.full((32, CHANNELS[space], room, room), 20, dtype=torch.int8 if space == "ab" else torch.uint8)
    vivid = pale.clone()
    vivid[middle] = 110

    def taken(target: Tensor, masked: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        torch.manual_seed(0)
        return Augment(SIZE, space, 0.9, kind)(ink, target, masked)

    cut_ink, cut_target, cut_masked = taken(vivid, masked)
    other_ink, other_target, other_masked = taken(pale, masked)
    assert cut_masked is not None
    assert other_masked is not None
    assert cut_masked.shape == cut_ink.shape
    assert torch.equal(cut_masked, other_masked)
    assert torch.equal(cut_target, other_target)
    assert torch.equal(cut_ink, other_ink)
    assert bool(cut_masked[cut_ink < 0.7].all())  # the ink shows where the square went
    assert bool((cut_ink[cut_masked] < 1 - 1e-6).all())
    torch.testing.assert_close(cut_ink, taken(vivid, None)[0], atol=0, rtol=0)
    shown = cut_target.masked_select(cut_masked)
    assert torch.equal(shown, torch.full_like(shown, PAPER[space]))


@spaces
def test_pages_without_a_mask_are_augmented_as_in_a_set_without(space: str) -> None:
    ink = numbered(4)

    def taken(masked: Tensor | None) -> list[Tensor | None]:
        torch.manual_seed(0)
        augment = Augment(SIZE, space, 0.5)
        target = truth_of(ink, space)
        parts = (*augment(ink, target, masked), *augment.ink(ink, masked), *augment.color(target, masked))
        return [part for part in parts if part is None or part.dtype is not torch.bool]

    plain, unmasked = taken(None), taken(torch.zeros_like(ink))
    assert plain.count(None) == 3
    torch.testing.assert_close([part for part in plain if part is not None], unmasked, atol=0, rtol=0)
