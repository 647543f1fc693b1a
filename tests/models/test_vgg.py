"""The frozen VGG against torchvision's own."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from models.card import CheckpointError
from models.layers import count_parameters
from models.vgg import PUBLISHED, VGGFeatures

TORCHVISION: dict[str, Callable[..., nn.Module]] = {
    "vgg16": torchvision.models.vgg16,
    "vgg19": torchvision.models.vgg19,
}
# Torchvision's numbers of these layers, as its own documentation prints the networks.
LAYERS = {
    "vgg16": {"relu1_1": 1, "relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29},
    "vgg19": {"relu1_1": 1, "relu2_1": 6, "relu3_1": 11, "relu4_1": 20, "relu5_1": 29, "relu5_4": 35},
}


def images(count: int = 2, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def whole_network(name: str) -> nn.Module:
    """Torchvision's network with random weights; its classifier takes no memory and is of no interest."""
    torch.manual_seed(2)
    with torch.device("meta"):
        network = TORCHVISION[name](weights=None, init_weights=False)
    network.features.to_empty(device="cpu")
    for layer in network.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, 0.0, 0.1)
    return network.eval()


def state_of(name: str = "vgg16") -> dict[str, Tensor]:
    return dict(whole_network(name).state_dict())


@pytest.mark.parametrize("name", LAYERS)
def test_features_are_those_of_torchvision(name: str) -> None:
    network = whole_network(name)
    ours = VGGFeatures(name, tuple(LAYERS[name]))
    ours.load(network.state_dict())
    pages = images()

    seen = ours(pages)

    normalize = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x, expected = normalize(pages), {}
    with torch.no_grad():
        for number, layer in enumerate(network.features):
            x = layer(x.clone())  # the next ReLU works in place
            expected[number] = x.clone()
    assert len(seen) == len(LAYERS[name])
    for out, (layer, number) in zip(seen, LAYERS[name].items(), strict=True):
        torch.testing.assert_close(out, expected[number], atol=1e-5, rtol=1e-5, msg=f"{layer} differs")


def test_features_come_in_the_order_asked_for() -> None:
    sides = [out.shape[1:] for out in VGGFeatures("vgg16", ("relu3_1", "relu1_2"))(images(size=32))]

    assert sides == [(256, 8, 8), (64, 32, 32)]


def test_it_is_no_deeper_than_needed() -> None:
    with torch.device("meta"):
        assert count_parameters(VGGFeatures("vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3"))) == 7_635_264
        assert count_parameters(VGGFeatures("vgg16", ("relu1_1",))) == 3 * 64 * 9 + 64
        assert count_parameters(VGGFeatures("vgg19", ("relu5_4",))) == 20_024_384  # all before the classifier


def test_the_names_are_torchvision_s() -> None:
    ours = VGGFeatures("vgg16", ("relu2_1",)).state_dict()

    assert set(ours) == {f"features.{number}.{kind}" for number in (0, 2, 5) for kind in ("weight", "bias")}


def test_nothing_in_it_learns_and_training_mode_does_not_reach_it() -> None:
    around = nn.Sequential(VGGFeatures("vgg16", ("relu1_2",)))

    around.train()

    assert not any(parameter.requires_grad for parameter in around.parameters())
    assert around.training
    assert not any(module.training for module in around[0].modules())
    assert not any(module.training for module in deepcopy(around)[0].modules())  # as the average of the weights is one


def test_gradients_reach_the_images() -> None:
    page = images(1, 32).requires_grad_()

    VGGFeatures("vgg16", ("relu2_2",))(page)[0].sum().backward()

    assert page.grad is not None
    assert float(page.grad.abs().min()) > 0


def test_random_features_are_of_order_1() -> None:
    torch.manual_seed(0)
    layers = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

    for layer, out in zip(layers, VGGFeatures("vgg16", layers)(images()), strict=True):
        assert 0.2 < float(out.square().mean().sqrt()) < 5, layer


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_are_listed(name: str) -> None:
    state = state_of(name)
    del state["features.2.weight"], state["features.7.bias"]
    ours = VGGFeatures(name, ("relu2_2",))

    with pytest.raises(CheckpointError) as refusal:
        ours.load(state)

    assert "features.2.weight, features.7.bias" in str(refusal.value)
    assert "features.0" not in str(refusal.value)
    assert PUBLISHED[name][0] in str(refusal.value)


def test_weights_of_another_shape_are_listed_and_none_is_taken() -> None:
    state = {**state_of(), "features.2.weight": torch.zeros(64, 3, 3, 3), "features.5.bias": torch.tensor(0.0)}
    ours = VGGFeatures("vgg16", ("relu2_1",))
    before = {key: value.clone() for key, value in ours.state_dict().items()}

    with pytest.raises(CheckpointError) as refusal:
        ours.load(state)

    assert "features.2.weight is (64, 3, 3, 3), not (64, 64, 3, 3)" in str(refusal.value)
    assert "features.5.bias is (), not (128,)" in str(refusal.value)
    assert "features.0.weight" not in str(refusal.value)
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_a_bad_name_or_layer_is_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match=r"^name is 'vgg11'; choose one of vgg16, vgg19$"):
        VGGFeatures("vgg11", ("relu1_1",))
    with pytest.raises(ValueError, match=r"^layers has relu3_4; vgg16 has relu1_1, .*relu3_3, relu4_1"):
        VGGFeatures("vgg16", ("relu1_1", "relu3_4"))
    with pytest.raises(ValueError, match=r"^layers is empty"):
        VGGFeatures("vgg16", ())
