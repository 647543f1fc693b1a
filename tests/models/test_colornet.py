"""colornet: the published sizes, what learns and what does not, and the mean that squared error ends in."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.card import CheckpointError
from models.checkpoint import from_bytes, to_bytes
from models.color import rgb_of_yuv, yuv_of
from models.colornet import Colornet, ColornetConfig, ColornetGenerator, ColornetHead
from models.layers import count_parameters
from models.training import Training
from models.variant import Variant
from models.vgg import VGGFeatures

SIZE = 32


def tiny(seed: int = 0, **options: float) -> Training:
    torch.manual_seed(seed)
    return Training(Colornet(ColornetConfig(image_size=SIZE, **options)), lambda network: network)


@cache
def gray_pages(count: int = 4) -> Tensor:
    patches = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return F.interpolate(patches, size=SIZE)


def colored(ink: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The rgb target with the page's own luma and these U, V."""
    rgb = rgb_of_yuv(torch.cat([(ink + 1) / 2, u.expand_as(ink), v.expand_as(ink)], 1))
    assert float(rgb.min()) >= 0
    assert float(rgb.max()) <= 1
    return 2 * rgb - 1


def uv_of(page: Tensor) -> Tensor:
    return yuv_of((page + 1) / 2)[:, 1:]


def vgg_of(variant: Variant) -> Iterator[VGGFeatures]:
    """The VGG that trains the head, and the one that is published."""
    for generator in (variant.trained_generator(), variant.generator()):
        assert isinstance(generator, ColornetGenerator)
        yield generator.vgg


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        variant = Colornet(ColornetConfig())
        generator = variant.generator()

    learning = [parameter for parameter in generator.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in learning) == 503_901
    assert count_parameters(generator) - 503_901 == 7_635_264
    assert count_parameters(variant.networks["head"]) == 503_901


def test_the_head_has_no_convolution_with_a_bias_and_normalizes_with_a_scale() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(parameter.shape) for name, parameter in ColornetHead().named_parameters()}

    convolutions = [shape for shape in shapes.values() if len(shape) == 4]
    assert sorted(convolutions, reverse=True) == [
        (256, 512, 1, 1),
        (128, 256, 3, 3),
        (64, 128, 3, 3),
        (3, 64, 3, 3),
        (3, 3, 3, 3),
        (2, 3, 3, 3),
    ]
    # scale and shift: of the five inputs (VGG16's four and the page) and after each convolution but the first
    assert sum(shape[0] for shape in shapes.values() if len(shape) == 1) == 2 * (512 + 256 + 128 + 64 + 3 + 200)


@pytest.mark.parametrize("size", [32, 40])
def test_a_page_comes_back_in_rgb_with_its_own_luma(size: int) -> None:
    torch.manual_seed(0)
    variant = Colornet(ColornetConfig(image_size=size))
    ink = torch.rand(2, 1, size, size) * 0.4 - 0.2

    out = variant.predict(ink)

    assert out.shape == (2, 3, size, size)
    assert float(out.abs().max()) <= 1
    inside = (out.abs() < 1).all(1, keepdim=True)
    assert float(inside.float().mean()) > 0.1
    luma = yuv_of((out + 1) / 2)[:, :1]
    torch.testing.assert_close(luma[inside], ((ink + 1) / 2)[inside], atol=1e-4, rtol=0)
    assert float(uv_of(out).abs().max()) > 0.05


def test_black_and_white_stay_in_range_whatever_the_colour() -> None:
    out = Colornet(ColornetConfig(image_size=SIZE)).predict(
        torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 32, 32)
    )

    assert float(out.abs().max()) <= 1


@pytest.mark.parametrize("which", range(5))
def test_the_head_uses_each_of_its_inputs(which: int) -> None:
    torch.manual_seed(0)
    generator = ColornetGenerator().eval()
    seen = generator.look(gray_pages(1))
    other = [value.flip(-1) if number == which else value for number, value in enumerate(seen)]

    assert not torch.equal(generator.head(*seen), generator.head(*other))


def test_vgg_sees_the_page_in_its_own_range() -> None:
    generator = ColornetGenerator()
    ink = gray_pages(2)

    gray, *seen = generator.look(ink)

    torch.testing.assert_close(gray, torch.cat([(ink + 1) / 2] * 3, 1))
    for value, expected in zip(seen, generator.vgg(gray), strict=True):
        assert torch.equal(value, expected)
        assert not value.requires_grad
    assert [value.shape[1:] for value in seen] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_vgg_does_not_learn() -> None:
    """Bit by bit, in the trained network and in the average, and no gradient comes near it."""
    training = tiny(learning_rate=2e-3)
    vgg, _ = vgg_of(training.variant)
    before = {key: value.clone() for key, value in vgg.state_dict().items()}
    ink = gray_pages()
    start = training.variant.networks["head"].state_dict()["deepest.weight"].clone()

    for _ in range(3):
        training.step(ink, ink.expand(-1, 3, -1, -1))

    for frozen in vgg_of(training.variant):
        assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in frozen.parameters())
    assert not torch.equal(training.variant.networks["head"].state_dict()["deepest.weight"], start)
    assert not any("vgg" in key for key in training.state() if not key.startswith("average/"))


def test_the_loss_is_the_squared_error_per_pixel_and_its_gradient_that_of_a_page() -> None:
    """By hand: plain descent on the sum over a page moves the last shift by the rate times the sum's gradient."""
    training = tiny(learning_rate=1e-3)
    generator = training.variant.trained_generator()
    assert isinstance(generator, ColornetGenerator)
    ink = gray_pages()
    target = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 2 - 1
    shift = generator.head.last[4].bias
    before = shift.detach().clone()
    error = generator.head.train()(*generator.look(ink)) - uv_of(target)
    gradient = torch.autograd.grad(error.square().sum() / 4, shift)[0]

    losses = training.step(ink, target)

    assert losses.keys() == {"squared"}
    assert float(losses["squared"]) == pytest.approx(float(error.detach().square().sum() / 4 / SIZE**2), rel=1e-5)
    torch.testing.assert_close(shift, before - 1e-3 * gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("rate", "factor"), [(1e-4, 2.5), (2e-3, 15)])
def test_it_learns_colours_that_follow_from_gray(rate: float, factor: float) -> None:
    """At the smallest and the largest rate of pages of 64 x 64 the loss keeps going down: it ends as its least.

    The sum over these pages is a quarter of theirs: four times the rate is the same stride.
    """
    training = tiny(learning_rate=4 * rate)
    ink = gray_pages()
    room = 1 - ink.abs()
    target = colored(ink, -0.2 * room, 0.25 * ink * room)

    losses = [float(training.step(ink, target)["squared"]) for _ in range(25)]

    assert losses[-1] < losses[0] / factor
    assert losses[-1] < 1.05 * min(losses)


def test_of_red_and_cyan_it_makes_greyish_brown() -> None:
    """The same pages, red in one half of the batch and cyan in the other: the answer is neither, but the mean.

    Squared error can do no better than half the distance of the two, squared.
    """
    training = tiny(learning_rate=4e-3)
    ink = 0.1 * gray_pages(2)
    red, cyan = torch.tensor([-0.13, 0.33]).view(1, 2, 1, 1), torch.tensor([0.03, -0.13]).view(1, 2, 1, 1)
    pages, uv = ink.repeat(2, 1, 1, 1), torch.cat([red, red, cyan, cyan])
    target = colored(pages, uv[:, :1], uv[:, 1:])

    for _ in range(30):
        loss = float(training.step(pages, target)["squared"])

    answer = uv_of(training.variant.predict(ink)).mean((0, 2, 3))
    mean = (red + cyan).flatten() / 2
    torch.testing.assert_close(answer, mean, atol=0.02, rtol=0)
    assert loss == pytest.approx(float((red - cyan).square().sum()) / 4, rel=0.05)
    chroma = float(answer.norm())
    assert chroma < 0.4 * float(red.norm())
    r, g, b = (training.variant.predict(ink).mean((0, 2, 3)) + 1) / 2
    assert r > g > b  # brown
    assert float(r - b) < 0.3  # greyish: the red has 0.64


def test_published_weights_are_taken_up() -> None:
    torch.manual_seed(5)
    published = VGGFeatures("vgg16", ("relu4_3",)).state_dict()
    variant = Colornet(ColornetConfig(image_size=SIZE))

    variant.load_pretrained({**published, "classifier.0.weight": torch.zeros(1)})

    vgg, _ = vgg_of(variant)
    assert all(torch.equal(value, published[key]) for key, value in vgg.state_dict().items())
    variant.load_pretrained(None)
    assert all(torch.equal(value, published[key]) for key, value in vgg.state_dict().items())
    with pytest.raises(CheckpointError, match=r"features\.0\.weight"):
        variant.load_pretrained({})
    assert (variant.pretrained, variant.pretrained_needed) == ("vgg16", True)


def test_a_resumed_training_goes_on_with_the_vgg_that_it_began_with() -> None:
    """Bit for bit, though the one that goes on was built with other random weights."""
    ink = gray_pages()
    target = colored(ink, -0.2 * (1 - ink.abs()), 0.1 * (1 - ink.abs()))
    whole = tiny(seed=3)
    whole.step(ink, target)
    saved = to_bytes(whole.state())
    whole.step(ink, target)

    second = tiny(seed=99)
    second.load_state(from_bytes(saved))
    second.step(ink, target)

    expected, resumed = whole.state(), second.state()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []
    first, later = (next(vgg_of(training.variant)).state_dict() for training in (whole, second))
    assert all(torch.equal(value, later[key]) for key, value in first.items())


def test_it_learns_rgb_alone() -> None:
    assert ColornetConfig().target == "rgb"
    with pytest.raises(ValueError, match=r"^target is 'ab'; colornet takes rgb$"):
        ColornetConfig(target="ab")
    with pytest.raises(ValueError, match=r"^image_size is 100; colornet needs a multiple of 8"):
        ColornetConfig(image_size=100)
