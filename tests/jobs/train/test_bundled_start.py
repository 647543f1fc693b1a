"""A training of the variant that comes with trained weights starts from them, unless it is told not to."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from datasets.errors import BadUsageError
from datasets.storage import open_storage
from jobs.parts.model.folder import BUNDLED, CARD, MODEL
from jobs.parts.runtime.options import as_settings
from jobs.parts.train.config import TrainConfig
from jobs.parts.train.initial_weights import check_initial_weights, load_initial_weights
from jobs.parts.train.run_folder import already_trained, claim_run
from tests.jobs.model.test_bundled import install, package
from tests.jobs.train.test_run_folder import SHARDS
from tests.untrained import publish_untrained

__all__ = ["package"]  # a fixture


def config(run: str | Path = "run", **options: Any) -> TrainConfig:
    return TrainConfig(data="shards", run=str(run), **{"variant": "exemplar", **options})


def weights_after(chosen: TrainConfig, origin: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights that a worker starts with."""
    torch.manual_seed(3)
    variant = models.build(chosen.variant, as_settings(chosen.model))
    load_initial_weights(variant, chosen, origin, resumed=False)
    return variant.trained_generator().state_dict()


def test_it_starts_from_the_bundled_weights_and_says_so(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = config()
    with caplog.at_level(logging.INFO, "mangahue"):
        origin = check_initial_weights(chosen)
    card = json.loads((package / "bundled" / CARD).read_text())
    assert origin == {"init": {"model": BUNDLED, "weights_sha256": card["weights_sha256"]}}
    assert caplog.messages == [
        f"--init bundled: the exemplar that comes with mangahue, weights {card['weights_sha256'][:12]}"
    ]
    assert as_settings(chosen.model) == card["config"]
    expected = models.load(*((package / "bundled" / name).read_bytes() for name in (CARD, "model.safetensors")))[0]
    for name, value in weights_after(chosen, origin).items():
        assert torch.equal(value, expected.generator().state_dict()[name])


def test_a_side_and_a_rate_of_ones_own_keep_the_weights(package: Path) -> None:
    chosen = config(image_size=96, learning_rate=1e-4, setting=("rare=0",))
    origin = check_initial_weights(chosen)
    assert origin["init"]["model"] == BUNDLED
    assert (chosen.model.image_size, chosen.model.learning_rate) == (96, 1e-4)
    assert as_settings(chosen.model)["base_channels"] == 4
    weights_after(chosen, origin)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_channels": 8}, "--base-channels 8 is another network than that of its weights; give 4,"),
        ({"setting": ("place_features=16",)}, "--setting place_features=16 is another .* give 32,"),
        (
            {"setting": ("spacing=10",), "learning_rate": 1e-4},
            r"--setting spacing=10\.0 is another .* give 20\.0,",
        ),
    ],
)
def test_an_option_that_does_not_fit_the_weights_is_named(package: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadUsageError, match=f"--init bundled does not fit: .*{told} or --init none$") as refusal:
        check_initial_weights(config(**options))
    assert "--learning-rate" not in str(refusal.value)


def test_none_starts_from_no_model(package: Path) -> None:
    chosen = config(init="none")
    assert chosen.model == models.VARIANTS["exemplar"].config_type()
    assert list(check_initial_weights(chosen)) == ["pretrained"]
    assert chosen.as_settings()["init"] == ""


@pytest.mark.parametrize("init", ["", "none"])
def test_a_variant_without_bundled_weights_starts_as_it_did(package: Path, init: str) -> None:
    chosen = config(variant="zhang", init=init)
    assert check_initial_weights(chosen) == {}
    assert chosen.model == models.VARIANTS["zhang"].config_type()
    assert chosen.as_settings()["init"] == ""


def test_another_variant_does_not_start_from_them(package: Path) -> None:
    with pytest.raises(BadUsageError, match="--init bundled is a exemplar; train that variant"):
        check_initial_weights(config(variant="zhang", init=BUNDLED))


def test_a_worker_finds_them_in_its_own_package(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = config()
    origin = check_initial_weights(chosen)
    sent = pickle.loads(pickle.dumps(chosen))
    package.rename(tmp_path / "elsewhere")
    install(monkeypatch, tmp_path / "elsewhere")
    weights_after(sent, origin)

    publish_untrained(tmp_path / "older/bundled", "exemplar", base_channels=4, image_size=64, spacing=20.0)
    spoil(tmp_path / "older/bundled")
    install(monkeypatch, tmp_path / "older")
    with pytest.raises(BadUsageError, match=r"--init bundled holds other weights \(.* when the job began"):
        weights_after(sent, origin)


def spoil(folder: Path) -> None:
    """Put other weights beside the published ones, which a training prefers."""
    state = models.load(*((folder / name).read_bytes() for name in (CARD, "model.safetensors")))[0].generator()
    with torch.no_grad():
        next(state.parameters()).add_(1)
    (folder / "model.raw.safetensors").write_bytes(models.checkpoint.to_bytes(state.state_dict()))


def test_a_run_is_taken_up_by_the_same_command_and_no_other(package: Path, tmp_path: Path) -> None:
    def claim(**options: Any) -> None:
        chosen = config(tmp_path / "run", **options)
        claim_run(open_storage(chosen.run), chosen, SHARDS, check_initial_weights(chosen))

    claim()
    claim(max_steps=9)
    claim(init=BUNDLED)
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert kept["settings"]["init"] == BUNDLED
    assert str(package) not in json.dumps(kept)
    with pytest.raises(BadUsageError, match="--init 'bundled' there, '' here"):
        claim(init="none", base_channels=4, image_size=64)
    spoil(package / "bundled")
    with pytest.raises(BadUsageError, match=r"--init bundled holds other weights \("):
        claim()


def test_a_training_that_is_done_is_known(package: Path, tmp_path: Path) -> None:
    run = open_storage(str(tmp_path / "run"))
    limits = {"max_steps": 9, "max_minutes": 0.0, "early_stop": 0}
    run.put(f"{MODEL}/{CARD}", json.dumps({"limits": limits}).encode())
    assert already_trained(run, config(tmp_path / "run", max_steps=9))
    assert not already_trained(run, config(tmp_path / "run"))


def test_a_run_from_before_there_were_bundled_weights_goes_on_without(package: Path, tmp_path: Path) -> None:
    chosen = config(tmp_path / "run", init="none")
    run, origin = open_storage(chosen.run), check_initial_weights(chosen)
    claim_run(run, chosen, SHARDS, origin)
    kept = json.loads((tmp_path / "run/config.json").read_text())
    assert kept["settings"]["init"] == ""  # what an earlier version wrote where --init was left out
    claim_run(run, chosen, SHARDS, origin)


def test_a_checkout_without_them_starts_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path)
    assert config().start == ""


def test_the_weights_of_the_project_train_at_another_side() -> None:
    chosen = config(image_size=192)
    weights = weights_after(chosen, check_initial_weights(chosen))
    assert chosen.start == BUNDLED
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
