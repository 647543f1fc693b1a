"""What --luminance keep, blend and predict are worth, for networks that predict luminance.

python -m benchmarks.luminance --model RUN/model --color DATA/peppercarrot --chapters ep10,ep19 \\
    [--pictures DIR]

There are two sources. `gray` is the page's own gray form. It has the luminance of the truth, so nothing can be gained.
`drawn` is ink drawn from the page as manga (imaging.screentone), which has another luminance.

The columns are these: CIEDE2000 and mean error of L* to the true page. SSIM and lines kept as the gate measures them,
before it decides. Pages that the gate passes. CIEDE2000 as published, where a page has its own luminance if the gate
refuses the network's.
"""

from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.pages import pages
from imaging.color import gray_of_equal_lightness, to_lab
from imaging.descreen import network_view
from imaging.gate import Thresholds, judge
from imaging.metrics import ciede2000
from imaging.postprocess import PostprocessSettings, postprocess_page
from imaging.screentone import to_screentone
from jobs.parts.model.folder import load_model
from jobs.parts.model.inference import predict_colors

_WAYS = ("keep", "blend", "predict")
_OPEN = Thresholds(ssim=0, lines=0)  # a gate that lets all ink pass


@click.command(context_settings={"show_default": True})
@click.option("--model", "uris", multiple=True, required=True, help="RUN/model with target rgb; repeat for more.")
@click.option("--color", required=True, help="Folder of colour chapters.")
@click.option("--chapters", default="", help="Names of chapters, comma-separated; all if empty.")
@click.option("--pictures", default=None, type=click.Path(path_type=Path), help="Folder for pages side by side.")
def main(uris: tuple[str, ...], color: str, chapters: str, pictures: Path | None) -> None:
    """Print a table."""
    cv2.setNumThreads(1)
    heads = ["CIEDE2000", "error of L*", "SSIM", "lines", "the gate passes", "CIEDE2000 as published"]
    click.echo("| network, source, way | " + " | ".join(heads) + " |\n| --- |" + " --- |" * len(heads))
    truths = list(pages(color, set(filter(None, chapters.split(",")))))
    for uri in uris:
        variant = load_model(uri)
        for source in ("gray", "drawn"):
            rows: dict[str, list[list[float]]] = {way: [] for way in _WAYS}
            for number, (chapter, name, truth) in enumerate(truths):
                ink = gray_of_equal_lightness(truth) if source == "gray" else to_screentone(truth, number)
                colors = predict_colors(variant, network_view(ink, variant.image_size)[None])[0]
                shown = [truth]
                for way in _WAYS:
                    bare = postprocess_page(ink, colors, PostprocessSettings(luminance=way, thresholds=_OPEN)).page
                    published = postprocess_page(ink, colors, PostprocessSettings(luminance=way))
                    found = judge(ink, bare).measures
                    off = np.abs(to_lab(bare)[..., 0] - to_lab(truth)[..., 0]).mean()
                    passed = not {"ink"} & {fault.code.value for fault in published.faults}
                    figures = [ciede2000(bare, truth), off, found.ssim, found.lines, passed]
                    rows[way].append([float(value) for value in [*figures, ciede2000(published.page, truth)]])
                    shown.append(bare)
                if pictures:
                    pictures.mkdir(parents=True, exist_ok=True)
                    sheet = cv2.cvtColor(np.concatenate(shown, axis=1), cv2.COLOR_RGB2BGR)
                    cv2.imwrite(str(pictures / f"{variant.__class__.__name__}-{source}-{chapter}-{name}.jpg"), sheet)
            for way, found_ in rows.items():
                mean = np.mean(found_, axis=0)
                cells = [f"{mean[0]:.2f}", f"{mean[1]:.1f}", f"{mean[2]:.4f}", f"{mean[3]:.3f}"]
                cells += [f"{np.sum(found_, axis=0)[4]:.0f} of {len(found_)}", f"{mean[5]:.2f}"]
                click.echo(f"| {uri.rstrip('/').split('/')[-2]}, {source}, {way} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
