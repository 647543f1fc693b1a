"""The command line's choices become the variant's config, or are refused by name."""

import pytest

import models
from datasets.errors import BadUsageError
from jobs.parts.runtime.options import worker_range
from jobs.parts.train.variant_options import variant_config

GIVEN = {"target": None, "base_channels": None, "image_size": None, "learning_rate": None, "optimizer": None}


@pytest.mark.parametrize("variant", models.VARIANTS)
def test_without_choices_a_variant_is_as_published(variant: str) -> None:
    assert variant_config(variant, GIVEN, ()) == models.VARIANTS[variant].config_type()


def test_a_choice_and_a_setting_are_taken() -> None:
    config = variant_config(
        "cyclegan", {**GIVEN, "base_channels": 32}, ("generator=skip", "identity_weight=0.5", "blocks=3")
    )

    assert (config.base_channels, config.generator, config.identity_weight, config.blocks) == (32, "skip", 0.5, 3)


@pytest.mark.parametrize(
    ("variant", "given", "settings", "told"),
    [
        ("colornet", {"base_channels": 32}, (), "--base-channels is no option of colornet"),
        ("pix2pix", {"optimizer": "sgd"}, (), "--optimizer is no option of pix2pix"),
        ("pix2pix", {}, ("generator=skip",), "--setting 'generator=skip': .* the settings of pix2pix are: .*l1_weight"),
        ("cyclegan", {}, ("generator",), "--setting 'generator': give NAME=VALUE"),
        ("cyclegan", {}, ("generator=unet",), "--setting generator is 'unet'; .*resnet.*skip"),
        ("cyclegan", {}, ("blocks=many",), "--setting 'blocks=many': 'many' is no int"),
        ("pix2pix", {}, ("image_size=128",), "--setting 'image_size=128': .* --image-size"),
        ("cyclegan", {"target": "ab"}, (), "--target is 'ab'; cyclegan takes rgb"),
        ("pix2pix", {"image_size": 100}, (), "--image-size is 100; pix2pix needs a multiple of 32"),
        ("pix2pix", {}, ("l1_weight=-1",), "--setting l1_weight is -1.0; it is a number from 0 up"),
    ],
)
def test_a_choice_that_the_variant_has_not_is_refused(
    variant: str, given: dict[str, object], settings: tuple[str, ...], told: str
) -> None:
    with pytest.raises(BadUsageError, match=told):
        variant_config(variant, {**GIVEN, **given}, settings)


@pytest.mark.parametrize(("text", "bounds"), [("0", (0, 0)), ("2", (2, 2)), ("1:4", (1, 4)), ("3:3", (3, 3))])
def test_workers_are_a_count_or_a_range(text: str, bounds: tuple[int, int]) -> None:
    assert worker_range(text) == bounds


@pytest.mark.parametrize("text", ["", "-1", "two", "4:1", "0:4", "1:", ":4", "1:2:3", "1.5"])
def test_other_words_are_no_workers(text: str) -> None:
    with pytest.raises(BadUsageError, match="--num-workers is"):
        worker_range(text)
