"""Near-duplicates of two chapters, which are ingested by different tasks of a real cluster."""

import io
from pathlib import Path

from PIL import Image

from datasets.shards import ShardSet
from tests.jobs.ingest.test_shards import archive, picture
from tests.ray_cluster import RayCluster


def test_a_page_of_two_chapters_is_kept_where_it_is_held_out(cluster: RayCluster, tmp_path: Path) -> None:
    pages = [picture(number, (240, 360)) for number in range(3)]
    out = io.BytesIO()
    Image.open(io.BytesIO(pages[0])).resize((200, 300)).save(out, "JPEG", quality=80)
    archive(tmp_path / "in/ch1.cbz", {"1.png": pages[0], "2.png": pages[1]})
    archive(tmp_path / "in/ch2.cbz", {"1.jpg": out.getvalue(), "2.png": pages[2]})

    done = cluster.job("ingest", "--color", f"{tmp_path}/in", "--out", f"{tmp_path}/shards", "--holdout", "ch2")

    assert done.returncode == 0, done.stdout
    assert "near-duplicates left out: 1" in done.stdout
    shards = ShardSet.open(str(tmp_path / "shards"))
    names = {split: [(page.chapter, page.name) for page in shards.read(split)] for split in ("train", "holdout")}
    assert names == {"train": [("ch1", "2.png")], "holdout": [("ch2", "1.jpg"), ("ch2", "2.png")]}
    report = (tmp_path / "shards/report.html").read_text()
    assert "ch1/1.png" in report
    assert len(list((tmp_path / "shards/report").glob("*.jpg"))) == 4 - 1
    assert len(list((tmp_path / "shards").rglob("*.parquet"))) == 2
