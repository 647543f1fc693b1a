"""--adapt: weights fitted to the reference pages, once for a job."""

from pathlib import Path

import pytest
import torch

import models
from datasets.errors import BadUsageError, Code
from datasets.synthetic import Series, draw_page
from jobs.parts.colorize import adaptation, predictor
from jobs.parts.colorize.adaptation import adapt_once, take_up
from jobs.parts.colorize.config import ColorizeConfig
from jobs.parts.colorize.plan import plan
from jobs.parts.colorize.predictor import Predictor
from jobs.parts.colorize.run import color
from jobs.parts.colorize.settings import JobSettings
from jobs.parts.ledger.ledger import Ledger
from jobs.parts.model.folder import load_model
from jobs.parts.runtime.signals import Stopped
from models.checkpoint import from_bytes
from tests.archives import zipped
from tests.jobs.colorize.chapters import saved
from tests.untrained import publish_untrained

SIZE = 64
SERIES = Series(seed=2, chapters=1, pages=4, width=240, height=336)


@pytest.fixture(scope="module")
def exemplar(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("exemplar")
    publish_untrained(folder, "exemplar", image_size=SIZE, base_channels=8)
    return str(folder)


@pytest.fixture(scope="module")
def colored(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("colored")
    files = {f"{page}.png": saved(draw_page(SERIES, 1, page).color) for page in (1, 2, 3)}
    (folder / "ch1.cbz").write_bytes(zipped(files))
    return str(folder)


def job(out: Path, model: str, reference: str, adapt: int = 3) -> JobSettings:
    config = ColorizeConfig(
        model=model, source="/in", out=str(out), reference=reference, adapt=adapt, backend="torch", device="cpu"
    )
    return JobSettings.of(config)


def kept(out: Path) -> list[Path]:
    return sorted((out / "_mangahue").glob("adapted-*.safetensors"))


def test_weights_are_fitted_once_and_all_who_colour_have_them(
    tmp_path: Path, exemplar: str, colored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = job(tmp_path / "out", exemplar, colored)
    real = adaptation.adapt
    monkeypatch.setattr(adaptation, "adapt", lambda *given, **_: (real(*given)[0] or fitted(*given), 0.5))

    adapt_once(settings)

    (file,) = kept(tmp_path / "out")
    made = file.read_bytes()
    monkeypatch.setattr(adaptation, "adapt", lambda *given, **_: pytest.fail("it was done before"))
    adapt_once(settings)
    assert kept(tmp_path / "out")[0].read_bytes() == made

    own = Predictor.of(settings, threads=1, on_gpu=False)._variant.generator().state_dict()
    changed = from_bytes(made)
    assert changed
    assert all(torch.equal(own[name], value) for name, value in changed.items())
    plain = load_model(exemplar).generator().state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.items() if name not in changed)


def fitted(variant: models.Variant, *_: object, **__: object) -> dict[str, torch.Tensor]:
    """As if a page that is held out had gained."""
    weights = variant.generator().state_dict()
    return {"paint.bias": weights["paint.bias"] + 1}


def test_of_two_runs_the_first_to_keep_its_weights_wins(
    tmp_path: Path, exemplar: str, colored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = job(tmp_path / "out", exemplar, colored)

    def overtaken(variant: models.Variant, *given: object, **_: object) -> tuple[dict[str, torch.Tensor], float]:
        (tmp_path / "out/_mangahue").mkdir(parents=True)
        (tmp_path / "out" / adaptation._key(settings)).write_bytes(b"another run's")
        return fitted(variant), 0.5

    monkeypatch.setattr(adaptation, "adapt", overtaken)
    adapt_once(settings)

    assert kept(tmp_path / "out")[0].read_bytes() == b"another run's"


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_weights_that_are_not_whole_are_named(tmp_path: Path, exemplar: str, colored: str, damage: str) -> None:
    settings = job(tmp_path / "out", exemplar, colored)
    adapt_once(settings)
    (file,) = kept(tmp_path / "out")
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:5])
    else:
        file.write_bytes(adaptation.to_bytes({"other": torch.zeros(2)}))

    fix = (
        "is missing; run the job again" if damage == "missing" else "is damaged; delete the file, and run the job again"
    )
    with pytest.raises(BadUsageError, match=rf"adapted-.*, the weights of --adapt, {fix}"):
        take_up(load_model(exemplar), settings)


def test_other_steps_or_pages_make_another_job(tmp_path: Path, exemplar: str, colored: str) -> None:
    made = [job(tmp_path / "out", exemplar, colored, adapt).fingerprint for adapt in (0, 3, 4, 3)]

    assert len(set(made)) == 3
    assert made[1] == made[3]


def test_the_networks_known_to_the_cache_differ(tmp_path: Path, exemplar: str, colored: str) -> None:
    plain, adapted = job(tmp_path / "a", exemplar, colored, 0), job(tmp_path / "b", exemplar, colored)
    adapt_once(plain)
    adapt_once(adapted)

    assert not kept(tmp_path / "a")
    cards = [take_up(load_model(exemplar), settings) for settings in (plain, adapted)]
    assert cards[0] == plain.card
    assert cards[1]["weights_sha256"] != plain.card["weights_sha256"]


def test_a_backend_is_given_the_fitted_network_and_a_card_of_its_own(
    tmp_path: Path, exemplar: str, colored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = job(tmp_path / "out", exemplar, colored)
    monkeypatch.setattr(adaptation, "adapt", lambda *given, **_: (fitted(*given), 0.5))
    adapt_once(settings)
    compiled: list[tuple[str, torch.Tensor]] = []

    def run_on(_: object, variant: models.Variant, card: dict[str, str], threads: int) -> None:
        compiled.append((card["weights_sha256"], variant.generator().state_dict()["paint.bias"].clone()))

    monkeypatch.setattr(predictor, "run_on", run_on)
    Predictor.of(settings, threads=1, on_gpu=False)

    ((digest, bias),) = compiled
    assert digest != settings.card["weights_sha256"]
    assert torch.equal(bias, fitted(load_model(exemplar))["paint.bias"])


def test_what_can_t_be_adapted_is_bad_usage(tmp_path: Path, exemplar: str, colored: str, model: Path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    (single / "1.png").write_bytes(saved(draw_page(SERIES, 1, 1).color))
    with pytest.raises(BadUsageError, match=r"--adapt 3: .* give --reference too"):
        job(tmp_path / "out", exemplar, "")
    with pytest.raises(BadUsageError, match="--adapt 3: a model of pix2pix is not adapted"):
        job(tmp_path / "out", str(model), colored)
    with pytest.raises(BadUsageError, match=r"--adapt 3: .* has one page in colour"):
        job(tmp_path / "out", exemplar, str(single))
    with pytest.raises(BadUsageError, match=r"--adapt is -1; give 0 to 10,000 steps"):
        job(tmp_path / "out", exemplar, colored, -1)


def test_a_stop_while_the_weights_are_fitted_leaves_every_chapter_to_the_next_run(
    tmp_path: Path, exemplar: str, colored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal raises it in the main thread."""

    def stopped(*_: object, **__: object) -> None:
        raise Stopped("SIGTERM")

    settings = job(tmp_path / "out", exemplar, colored)
    ledger = Ledger(settings.out, settings.fingerprint, None)
    state = plan(colored, ledger, settings, replace=False)
    monkeypatch.setattr(adaptation, "adapt", stopped)

    color(state, ledger, settings)

    assert state.stopped == "the job was stopped by SIGTERM"
    assert {rel: manifest.code for rel, manifest in state.results.items()} == {"ch1.cbz": Code.STOPPED}
    assert kept(tmp_path / "out") == []
