"""Plots of measured figures as SVG files."""

from collections.abc import Sequence

from jobs.parts.report.charts import HEIGHT, WIDTH, Chart

COLORS = ("#0a66c2", "#c2410c", "#15803d", "#7e22ce")


def plot(panels: Sequence[Sequence[Chart]]) -> str:
    """One SVG with the panels one below the other. The curves of a panel, at most four, were drawn on the same axes."""
    parts = []
    for number, charts in enumerate(panels):
        chart = charts[0]
        marks = [
            f'<text x="{tick.at:.1f}" y="{chart.bottom + 16}" text-anchor="middle">{tick.label}</text>'
            for tick in chart.x_ticks
        ] + [
            f'<text x="{chart.left - 6}" y="{tick.at + 4:.1f}" text-anchor="end">{tick.label}</text>'
            f'<path d="M{chart.left},{tick.at:.1f}H{chart.right}" stroke="#ddd"/>'
            for tick in chart.y_ticks
        ]
        colors = COLORS[: len(charts)]
        curves = [
            f'<path d="{curve.path}" fill="none" stroke="{color}" stroke-width="1.5"/>'
            for curve, color in zip(charts, colors, strict=True)
        ]
        names = [
            f'<text x="{chart.left + 6}" y="{chart.top + 12 + 13 * line}" font-weight="bold" fill="{color}">'
            f"{curve.name}</text>"
            for line, (curve, color) in enumerate(zip(charts, colors, strict=True))
        ]
        parts.append(f'<g transform="translate(0,{number * HEIGHT})">{"".join([*marks, *curves, *names])}</g>')
    size = f'width="{WIDTH * 2}" height="{HEIGHT * 2 * len(panels)}" viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}"'
    font = 'font-family="sans-serif" font-size="11" fill="#333"'
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{paper}{"".join(parts)}</svg>\n'
