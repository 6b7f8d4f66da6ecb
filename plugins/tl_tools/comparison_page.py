"""A comparison of runs as one HTML file that opens anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from tlcore.cli.layout import harmless
from tlcore.files.atomic import publish_file

if TYPE_CHECKING:
    from tl_tools.comparison import Comparison

__all__ = ["write_comparison"]

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Comparison of {{ rows | length + 1 }} runs</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 2rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { display: block; width: 100%; min-width: 16rem; height: 1.6rem; }
svg line { stroke: currentColor; } svg .zero { stroke-dasharray: 3 3; opacity: .6; }
svg .interval { stroke-width: 4; opacity: .5; } svg circle { fill: currentColor; }
@media print { body { max-width: none; padding: 0; } tr { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<h1>Comparison of {{ rows | length + 1 }} runs</h1>
<p>{{ metric }} on the same {{ count }} test examples; each run beside the first, <code>{{ first }}</code>
({{ "%.4f" | format(value) }}).</p>
<div class="wide"><table><caption>Differences, each with the interval that holds 95 % of the resampled ones</caption>
<thead><tr><th scope="col">run</th><th scope="col">{{ metric }}</th><th scope="col">difference</th>
<th scope="col">95 % interval</th><th scope="col">as a picture</th><th scope="col">verdict</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.run }}</th><td class="number">{{ "%.4f" | format(row.value) }}</td>
<td class="number">{{ "%+.4f" | format(row.value - row.first) }}</td>
<td class="number">{{ "%+.4f" | format(row.low) }} to {{ "%+.4f" | format(row.high) }}</td>
<td><svg role="img" viewBox="-100 -10 200 20" preserveAspectRatio="none"><title>{{ row.verdict }}</title>
<line class="zero" x1="0" x2="0" y1="-10" y2="10"/>
<line class="interval" x1="{{ scaled(row.low) }}" x2="{{ scaled(row.high) }}" y1="0" y2="0"/>
<circle cx="{{ scaled(row.value - row.first) }}" cy="0" r="4"/></svg></td>
<td>{{ row.verdict }}</td></tr>
{% endfor %}
</tbody></table></div>
{% if changed %}
<div class="wide"><table><caption>What was changed between them</caption>
<thead><tr><th scope="col">key</th>{% for run in runs %}<th scope="col">{{ run }}</th>{% endfor %}</tr></thead>
<tbody>{% for key, values in changed.items() %}
<tr><th scope="row">{{ key }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>{% endfor %}
</tbody></table></div>
{% else %}
<p>Their recipes are the same.</p>
{% endif %}
</main>
</body>
</html>
"""


def write_comparison(path: Path, comparison: Comparison, changed: dict[str, list[Any]]) -> None:
    """Write the page, whole or not at all; everything that came from runs is text in it, never markup."""
    from tl_tools.comparison import verdict

    widest = max((abs(end) for one in comparison.differences for end in (one.low, one.high)), default=0) or 1.0
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True)
    page = environment.from_string(PAGE).render(
        rows=[{**vars(one), "verdict": verdict(one, comparison)} for one in comparison.differences],
        metric=comparison.metric.replace("_", " "),
        count=f"{comparison.count:,}",
        first=comparison.first,
        value=comparison.values[comparison.first],
        runs=list(comparison.values),
        changed=changed,
        scaled=lambda difference: f"{95 * difference / widest:.1f}",
    )
    publish_file(path, page)


def _shown(value: Any) -> Any:
    return harmless(value) if type(value) is str else value
