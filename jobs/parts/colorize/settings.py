"""The settings of a colouring job: which weights, which settings, and the fingerprint that names both."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets.errors import BadUsageError
from datasets.storage import open_storage
from imaging.color import F32, U8
from jobs.parts.colorize.cast import NO_CAST, Cast, kept_cast, read_cast
from jobs.parts.colorize.config import ColorizeConfig, PagesShown
from jobs.parts.colorize.hints import Hints, kept_hints, read_hints
from jobs.parts.colorize.marked import MarkedPages, References
from jobs.parts.colorize.page_settings import PageSettings
from jobs.parts.colorize.reference import ReferencePages, read_palette, read_reference_pages
from jobs.parts.ledger.ledger import JOB, REFERENCES
from jobs.parts.model.backends.choice import Backend, choose_backend
from jobs.parts.model.folder import load_model, read_card, refuse_not_finite, tell_bundled
from jobs.parts.runtime.claims import read_json
from jobs.parts.runtime.options import actor_count, as_settings
from jobs.parts.runtime.runner import RunnerName
from jobs.parts.source.policy import Policy
from models.card import FOLLOWING

log = logging.getLogger("mangahue")
_PIXELS = 4  # version of the pixels: raised when the same weights and settings give other ones
_FOLLOWING = 2  # the same, of networks that follow reference pages and hints


@dataclass(frozen=True)
class JobSettings:
    """The resolved choices of a colouring job.

    model: URI of the model folder.
    card: the model's card.
    out: URI of the output folder.
    pages: what decides a page's pixels, with the weights.
    batch_size: squares that the network sees at once.
    num_actors: workers that hold the network; 0 for as many as suit the cluster.
    gpus_per_actor: GPUs of each of them.
    device: "auto", "cpu" or "cuda".
    backend: what runs the network on CPUs.
    runner: "auto", "local" or "ray".
    previews: of which pages small pictures are kept.
    policy: what is done with bad input.
    reference_pages: None without --reference.
    adapt: steps by which the network is fitted to the reference pages first; 0: none.
    hints: those of --hints, else those that the output folder keeps; None for none.
    marked: the marked pages that the output folder keeps.
    config: all options as plain JSON values.
    """

    model: str
    card: dict[str, Any]
    out: str
    pages: PageSettings
    batch_size: int
    num_actors: int
    gpus_per_actor: float
    device: str
    backend: Backend
    runner: RunnerName
    previews: PagesShown
    policy: Policy
    reference_pages: ReferencePages | None
    adapt: int
    hints: Hints | None
    marked: MarkedPages
    config: dict[str, Any]

    @classmethod
    def of(cls, config: ColorizeConfig) -> "JobSettings":
        """Read what the options name: card, reference pages, palette, hints; and the marked pages.

        Raises BadUsageError where the model folder holds no model, or one whose weights are not finite, where
        --luminance needs a model that predicts luminance, where the reference has no page in colour, where palette,
        hints or marked pages are wrong, or where the backend is not installed.
        """
        card, policy = read_card(config.model), config.policy
        if config.luminance != "keep" and card["config"]["target"] != "rgb":
            raise BadUsageError(
                f"--luminance {config.luminance}: --model {config.model} predicts none, its target is "
                f"{card['config']['target']}; give a model that was trained with --target rgb, or --luminance keep"
            )
        refuse_not_finite(config.model)
        tell_bundled(config.model, card)
        reference_pages = _reference_pages(config, card)
        return cls(
            model=config.model,
            card=card,
            out=config.out,
            pages=config.pages.with_palette(read_palette(config, reference_pages)),
            batch_size=config.batch_size,
            num_actors=actor_count(config.num_actors),
            gpus_per_actor=config.gpus_per_actor,
            device=config.device,
            backend=_backend(config, card),
            runner=config.runner,
            previews=config.previews,
            policy=policy,
            reference_pages=reference_pages and reference_pages.halved(),
            adapt=_adapt(config, card, reference_pages),
            hints=_hints(config, card),
            marked=_marked(config, card, policy),
            config=as_settings(config),
        )

    def recorded(self) -> dict[str, Any]:
        """The choices that change what is published, as job.json holds them."""
        kept: dict[str, Any] = {"keep_format": True} if self.policy.keep_format else {}
        if self.reference_pages is not None:
            kept["reference"] = self.reference_pages.digest()
        if self.follows:
            kept["following"] = _FOLLOWING
        if self.adapt:
            kept["adapt"] = self.adapt
        return {**self.pages.recorded(), "pixels": _PIXELS, **kept, **self.backend.recorded()}

    @property
    def fingerprint(self) -> str:
        """A digest in hex; equal for equal weights and settings."""
        named = [self.card["weights_sha256"], self.card["variant"], self.card["config"], self.recorded()]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    @property
    def image_size(self) -> int:
        """Side of the square the network sees, pixels."""
        return int(self.card["config"]["image_size"])

    @property
    def follows(self) -> bool:
        """Whether the network follows coloured pages."""
        return self.card["variant"] in FOLLOWING

    def as_job(self) -> dict[str, Any]:
        """What job.json says beside the fingerprint."""
        palette = {} if self.pages.palette is None else {"palette": self.pages.palette.to_dict()}
        named = {"weights_sha256": self.card["weights_sha256"], "settings": self.recorded(), "config": self.config}
        return {**named, **palette}


def _backend(config: ColorizeConfig, card: dict[str, Any]) -> Backend:
    """The backend of a job: that of the folder's job.json, unless other weights are to take the folder over."""
    job = read_json(open_storage(config.out), JOB) or {}
    begun = job.get("settings")
    if config.replace and job.get("weights_sha256") != card["weights_sha256"]:
        begun = None
    return choose_backend(config.backend, config.device, card["variant"], begun)


def _reference_pages(config: ColorizeConfig, card: dict[str, Any]) -> ReferencePages | None:
    if not config.reference:
        return None
    size = int(card["config"]["image_size"])
    return read_reference_pages(config.reference, size, config.policy, follows=card["variant"] in FOLLOWING)


def _adapt(config: ColorizeConfig, card: dict[str, Any], pages: ReferencePages | None) -> int:
    """The steps of --adapt. Raises BadUsageError where the model is of another variant, or for a single page."""
    if not config.adapt:
        return 0
    if card["variant"] != "exemplar":
        raise BadUsageError(
            f"--adapt {config.adapt}: a model of {card['variant']} is not adapted; give one of exemplar"
        )
    if pages is None or len(pages.pages) < 2:
        raise BadUsageError(
            f"--adapt {config.adapt}: --reference {config.reference} has one page in colour, and one is held out; give "
            "two or more, or leave --adapt out"
        )
    return config.adapt


def _hints(config: ColorizeConfig, card: dict[str, Any]) -> Hints | None:
    """The hints of a job. Raises BadUsageError where the model takes none of those given, or where a file is wrong."""
    out = open_storage(config.out)
    cast = read_cast(config.cast) if config.cast else kept_cast(out) or NO_CAST
    found = read_hints(config.hints, cast) if config.hints else kept_hints(out, cast)
    if card["variant"] in FOLLOWING:
        _tell_unnamed(config.cast, cast, found)
        return found
    why = f"a model of {card['variant']} takes no hints"
    for flag, given in (("--hints", config.hints), ("--cast", config.cast)):
        if given:
            raise BadUsageError(f"{flag} {given}: {why}; give one of {', '.join(sorted(FOLLOWING))}")
    if found is not None:
        log.warning("%s is left alone: %s", found.file, why)
    return None


def _tell_unnamed(given: str, cast: Cast, hints: Hints | None) -> None:
    """Say which colours of --cast no hint names: they colour nothing."""
    unnamed = [name for name in cast.colours if not (hints and hints.naming(name))]
    if given and unnamed:
        log.warning("--cast %s: no hint names %s", given, ", ".join(unnamed))


def _marked(config: ColorizeConfig, card: dict[str, Any], policy: Policy) -> MarkedPages:
    """The marked pages of the output folder. Raises BadUsageError where they are wrong."""
    references = References(open_storage(config.out), card, policy)
    if card["variant"] in FOLLOWING:
        return references.marked(lambda: _describing(config.model, card))
    if references.entries():
        log.warning("%s/%s is left alone: a model of %s follows no pages", config.out, REFERENCES, card["variant"])
    return MarkedPages((), {})


def _describing(model: str, card: dict[str, Any]) -> Callable[[U8], tuple[F32, float]]:
    # Imported here: torch takes seconds, and what a network sees of a page is kept.
    from jobs.parts.model.inference import describe_page

    return partial(describe_page, load_model(model, card))
