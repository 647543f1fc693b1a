"""Trains every variant on the same pages for the same time, at a size that two processor cores can train. Prints one
table, and writes one report.

python -m benchmarks.compare --data SHARDS [--minutes 15] [--out build/compare] [--only NAME ...]
"""

import json
from pathlib import Path
from typing import Any

import click

from jobs.parts.demo.run import run

ROWS: dict[str, dict[str, Any]] = {  # the published settings, except where they would be too large
    "pix2pix": {"variant": "pix2pix", "base_channels": 32},
    "cyclegan": {"variant": "cyclegan", "image_size": 128, "base_channels": 32, "setting": "blocks=6", "batch_size": 1},
    "cyclegan-skip": {
        "variant": "cyclegan", "image_size": 128, "base_channels": 32, "setting": "generator=skip", "batch_size": 4,
        "augment": "berserk",
    },
    "pix2pixhd": {"variant": "pix2pixhd", "image_size": 256, "base_channels": 16, "batch_size": 2},
    "colornet": {"variant": "colornet", "vgg_weights": "random"},
    "hypercolumn": {
        "variant": "hypercolumn", "setting": "columns=reduced", "optimizer": "adam", "vgg_weights": "random",
    },
    "zhang": {"variant": "zhang", "base_channels": 32},
    "exemplar": {"variant": "exemplar", "init": "none", "batch_size": 8, "clip_norm": 20},
}  # fmt: skip
_COLUMNS = (("ciede2000", 2), ("color_names", 2), ("clouds", 3), ("psnr", 2), ("ssim", 3), ("colorfulness", 1))


def table(metrics: dict[str, Any]) -> str:
    """The rows of metrics.json as Markdown, with the best CIEDE2000 first."""
    means, costs, models = metrics["means"], metrics["costs"], metrics["models"]
    lines = [
        "| | steps | CIEDE2000 | colour names | clouds | PSNR | SSIM | colourfulness |"
        " parameters, M | pages/s | memory, MB |",
        "|" + " --- |" * 11,
    ]
    for name in sorted(means, key=lambda name: means[name].get("ciede2000", -1)):
        figures = [f"{means[name][key]:.{digits}f}" if key in means[name] else "" for key, digits in _COLUMNS]
        cost = costs.get(name)
        more = (
            [f"{cost['parameters']:.1f}", f"{cost['pages_per_second']:.2f}", f"{cost['memory']:.0f}"]
            if cost
            else [""] * 3
        )
        steps = str(models[name]["steps"]) if name in models else ""
        lines.append("| " + " | ".join([name, steps, *figures, *more]) + " |")
    return "\n".join(lines)


@click.command(context_settings={"show_default": True})
@click.option("--data", required=True, help="Shards that ingest.py wrote, with held-out chapters.")
@click.option("--minutes", default=15.0, help="Training time of each variant.")
@click.option("--out", default="build/compare", help="Folder of the runs and of the report.")
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="These rows alone; repeat for more.")
def main(data: str, minutes: float, out: str, only: tuple[str, ...]) -> None:
    """Train each variant, evaluate all at once, print the table."""
    folder = Path(out).absolute()
    for name in only or ROWS:
        run("train", **{"data": data, "run": folder / name, "max_minutes": minutes, **ROWS[name]})
    trained = tuple(folder / name / "model" for name in ROWS if (folder / name / "model/model.json").exists())
    run("evaluate", model=trained, data=data, out=folder / "report")
    text = table(json.loads((folder / "report/metrics.json").read_text()))
    (folder / "table.md").write_text(text + "\n")
    click.echo(text)


if __name__ == "__main__":
    main()
