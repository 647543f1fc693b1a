"""What a verification counts, without Ray."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from datasets.archive import find_chapters
from datasets.storage import open_storage
from jobs.parts.colorize.plan import output_of
from jobs.parts.colorize.tasks import ChapterTask
from jobs.parts.source.policy import Policy
from jobs.parts.verify import check
from jobs.parts.verify.check import Published, check_all, check_row, open_published
from tests.archives import zipped
from tests.jobs.colorize.chapters import COMIC_INFO, SIZE, color, gray_page, stages_of

PAGES = {"archive.cbz": 3, "folder": 2, "gone.cbz": 1}


@pytest.fixture
def published(tmp_path: Path) -> Published:
    source = open_storage(f"{tmp_path}/in")
    for name, pages in PAGES.items():
        files = {f"{number}.png": gray_page(number) for number in range(pages)} | {"ComicInfo.xml": COMIC_INFO}
        for key, data in {name: zipped(files)}.items() if "." in name else ((f"{name}/{k}", files[k]) for k in files):
            source.put(key, data)
    torch.manual_seed(0)
    variant = models.build("pix2pix", {"image_size": SIZE, "base_channels": 4})
    for ref in find_chapters(source.uri):
        color(ChapterTask(ref, output_of(ref), over=0, policy=Policy()), tmp_path, variant)
    stages_of(tmp_path).ledger.claim({"weights_sha256": "w", "settings": {}}, replace=False)
    open_storage(f"{tmp_path}/out").delete("gone.cbz")
    return open_published(f"{tmp_path}/out")


def test_pages_are_counted_not_files(
    published: Published, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_again(published: Published, runner: str) -> Iterator[dict[str, Any]]:
        for manifest in published.standing:
            yield check_row({"rel": manifest.rel}, ledger=published.ledger)

    monkeypatch.setattr(check, "_read_again", read_again)
    caplog.set_level(logging.INFO)
    assert [finding.rel for finding in check_all(published, "local")] == ["gone.cbz"]
    assert any("verify: 3/3 chapters, 6 pages, " in line for line in caplog.messages), caplog.messages


def test_a_chapter_whose_manifest_went_has_no_pages(published: Published) -> None:
    assert check_row({"rel": "none.cbz"}, ledger=published.ledger)["pages"] == 0
