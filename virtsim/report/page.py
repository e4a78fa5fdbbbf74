"""A page about runs: for each scenario what was run, what came out, and how far model and kernel are apart."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from virtsim.core.errors import SpecError
from virtsim.core.files import write_whole
from virtsim.core.spec import dump_toml
from virtsim.results.manifest import make_manifest
from virtsim.results.run import Run
from virtsim.results.runset import Entry, RunSet
from virtsim.results.schema import LATENCIES

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 2em auto; max-width: 70em; padding: 0 1em; }
table { border-collapse: collapse; margin: .6em 0 1.2em; font-size: 13px; }
th, td { padding: .15em .8em .15em 0; text-align: left; border-bottom: 1px solid #e4e4e4; }
img { max-width: 100%; margin: .5em 0 1em; }
pre { background: #f6f6f6; padding: .8em; overflow-x: auto; font-size: 12px; }
footer { color: #777; font-size: 12px; margin-top: 3em; }
"""


def write_report(path: Path | str, runs: Iterable[Run], title: str = "virtsim report") -> None:
    """Write one HTML file about runs of one or several scenarios, in either world.

    Parameters
    ----------
    path : path
        The file; it appears whole or not at all.
    runs : iterable of Run
        Those of one scenario are told apart by its name. Where there are runs of both worlds, they are
        compared; where a run has a timeline or latencies, they are drawn.
    title : str
        Heading of the page.

    Raises
    ------
    SpecError
        If there are no runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.scenario.name, []).append(run)
    if not groups:
        raise SpecError("runs", "there are none to report on")
    body = "".join(part for name, group in groups.items() for part in _section(name, group))
    made = make_manifest()
    foot = f"virtsim {made['virtsim']}, Python {made['python']}, {made['started']}"
    text = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{body}"
        f"<footer>{html.escape(foot)}</footer></body></html>\n"
    )
    write_whole(Path(path), text.encode())


def _section(name: str, runs: list[Run]) -> Iterator[str]:
    scenario = runs[0].scenario
    yield f"<h2>{html.escape(name)}</h2>"
    yield scenario._repr_html_()
    yield f"<details><summary>the scenario as TOML</summary><pre>{html.escape(dump_toml(scenario))}</pre></details>"
    worlds = {world: [run for run in runs if run.world == world] for world in ("model", "real")}
    if all(worlds.values()):
        yield from _comparison(worlds["model"], worlds["real"])
    for world, mine in worlds.items():
        if mine:
            yield f"<h3>{'In the model' if world == 'model' else 'On the kernel'}</h3>"
            yield RunSet(Entry({}, i, run) for i, run in enumerate(mine))._repr_html_()
    yield from _timelines(worlds)
    yield from _latencies(runs)


def _comparison(model: list[Run], real: list[Run]) -> Iterator[str]:
    from virtsim.plots.comparison import plot_comparison
    from virtsim.validation import compare

    found = compare(model, real)
    yield "<h3>Model against kernel</h3>"
    yield found._repr_html_()
    try:
        yield _image(plot_comparison(found.rows))
    except SpecError:
        # Nothing with a ratio: the table has said all there is.
        return


def _timelines(worlds: dict[str, list[Run]]) -> Iterator[str]:
    from virtsim.plots.timeline import plot_timeline

    firsts = [next((run for run in runs if run.slices), None) for runs in worlds.values()]
    drawn = [run for run in firsts if run is not None]
    if drawn:
        yield "<h3>Who ran when</h3>"
        yield _image(plot_timeline(drawn))


def _latencies(runs: list[Run]) -> Iterator[str]:
    from virtsim.plots.latency import plot_latency

    for kind in LATENCIES:
        if any(latency.kind == kind and latency.histogram.count for run in runs for latency in run.latencies):
            yield f"<h3>{kind.replace('_', ' ').capitalize()}</h3>"
            yield _image(plot_latency(runs, kind))


def _image(axes: Any) -> str:
    """A figure as a picture inside the page."""
    first = axes if hasattr(axes, "figure") else axes[0]
    buffer = BytesIO()
    first.figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    return f"<img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
