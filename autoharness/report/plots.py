"""The report's plots: SVG from matplotlib, in colours that the page's style sheet decides (light, dark, paper).

Each mark has a title, which a browser shows under the pointer, and links to what it stands for.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from autoharness.core.stats import difference_interval
from autoharness.gate.comparison import Score
from autoharness.report.overview import Attempt, Overview, score_of
from autoharness.vault.spending import ROLES

_COLOURS = {
    "ink": "#010101",
    "faint": "#020202",
    "accepted": "#030303",
    "rejected": "#040404",
    "other": "#050505",
    **{f"series-{number}": f"#06060{number}" for number in range(1, 9)},
}
"""What matplotlib is told; each is replaced by the page's variable of that name."""
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_WIDTH, _HEIGHT = 9.0, 3.0
"""Inches of 72 points."""
_MOST_SERIES, _MOST_LABELS, _MANY = 8, 24, 60
_RAIL = -5
"""Below the scores: where the marks of attempts are that were not kept."""


def scores(overview: Overview) -> str:
    """The kept version's score after each attempt, and every attempt with its result."""
    attempts = overview.attempts
    with _figure("scores", "edit", "held-out score, %", _labels(attempts)) as (axes, marks, done):
        kept = [(0, overview.baseline.name, "version-0", score_of(overview.baseline))]
        for place, one in enumerate(attempts, 1):
            if one.version:
                kept.append((place, one.name, f"attempt-{one.short}", score_of(one.version)))
        known = [(place, name, target, score) for place, name, target, score in kept if score]
        _steps(axes, [(place, score) for place, _, _, score in known], len(attempts))
        for place, name, target, score in known:
            _mark(axes, f"score-{place}", place, 100 * score.mean, "accepted", "o", target)
            interval = f"95 % interval {100 * score.low:.0f} to {100 * score.high:.0f}"
            marks[f"score-{place}"] = f"{name}: {100 * score.mean:.1f} %, {interval}"
        for place, one in enumerate(attempts, 1):
            if not one.version:
                colour, shape = ("rejected", "x") if one.gate and one.gate.asked else ("other", "|")
                _mark(axes, f"tried-{place}", place, _RAIL, colour, shape, f"attempt-{one.short}")
                marks[f"tried-{place}"] = f"{one.name}: {one.end}. {one.idea}"
        axes.set_ylim(2 * _RAIL, 100)
        axes.set_yticks(range(0, 101, 20))
    return done()


def questions(overview: Overview) -> str:
    """For each gate run: candidate minus incumbent, with its interval. Empty if there was none."""
    asked = [(place, one) for place, one in enumerate(overview.attempts, 1) if one.differences]
    if not asked:
        return ""
    with _figure("questions", "edit", "difference, points", _labels(overview.attempts)) as (axes, marks, done):
        axes.axhline(0, color=_COLOURS["ink"], linewidth=0.8)
        for place, one in asked:
            low, high = difference_interval(one.differences)
            mean = sum(one.differences) / len(one.differences)
            colour = one.end if one.end in ("accepted", "rejected") else "other"
            axes.plot([place, place], [100 * low, 100 * high], color=_COLOURS[colour], linewidth=1.2)
            _mark(axes, f"question-{place}", place, 100 * mean, colour, "o", f"attempt-{one.short}")
            interval = f"95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
            marks[f"question-{place}"] = f"{one.name}, {one.end}: {100 * mean:+.1f} points, {interval}"
    return done()


def failures(names: Sequence[str], groups: Mapping[str, Sequence[int]]) -> str:
    """Stacked bars: for each kept version, how many train tasks fail in which group. Empty if none failed."""
    series = {what: [float(count) for count in counts] for what, counts in _largest(groups).items()}
    return _stacked("failures", names, series, "train tasks", "{:.0f} train tasks") if groups else ""


def costs(attempts: Sequence[Attempt]) -> str:
    """Stacked bars: what each iteration cost, by role. Empty if nothing was spent."""
    spent = [one for one in attempts if one.spent.total]
    series = {role: [one.spent.usd.get(role, 0.0) for one in spent] for role in ROLES}
    return _stacked("costs", [one.short for one in spent], series, "US dollars", "${:.4f}") if spent else ""


def seconds(attempts: Sequence[Attempt]) -> str:
    """Stacked bars: how long each iteration took. Empty if no loop ran."""
    timed = [one for one in attempts if one.iteration]
    edits = [one.iteration.edit.seconds if one.iteration and one.iteration.edit else 0.0 for one in timed]
    rest = [max(0.0, one.iteration.seconds - edit) for one, edit in zip(timed, edits, strict=True) if one.iteration]
    unit, unit_s = ("minutes", 60.0) if max([0.0, *rest, *edits]) >= 120 else ("seconds", 1.0)
    spans = {"coding agent": edits, "simulations and the gate": rest}
    series = {what: [value / unit_s for value in values] for what, values in spans.items()}
    return _stacked("seconds", [one.short for one in timed], series, unit, f"{{:.1f}} {unit}") if timed else ""


def _labels(attempts: Sequence[Attempt]) -> list[str]:
    """Along the x axis: the baseline, then each attempt."""
    return ["0", *(one.short for one in attempts)]


def _largest(groups: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """As many groups as there are colours; the small ones together."""
    names = list(groups)
    if len(names) <= _MOST_SERIES:
        return dict(groups)
    shown = {name: groups[name] for name in names[: _MOST_SERIES - 1]}
    rest = [sum(counts) for counts in zip(*(groups[name] for name in names[_MOST_SERIES - 1 :]), strict=True)]
    return {**shown, "other": rest}


def _stacked(plot: str, names: Sequence[str], series: Mapping[str, Sequence[float]], what: str, form: str) -> str:
    with _figure(plot, "", what, names) as (axes, marks, done):
        base = [0.0] * len(names)
        for number, (label, values) in enumerate(series.items(), 1):
            width = 0.7 if len(names) < _MANY else 1.0
            bars = axes.bar(range(len(names)), values, bottom=base, width=width, color=_COLOURS[f"series-{number}"])
            for place, bar in enumerate(bars):
                bar.set_gid(f"bar-{number}-{place}")
                marks[f"bar-{number}-{place}"] = f"{names[place]}, {label}: {form.format(values[place])}"
            base = [below + value for below, value in zip(base, values, strict=True)]
        axes.set_xlim(-0.6, max(0.6, len(names) - 0.4))
    return done()


def _steps(axes: Any, points: Sequence[tuple[int, Score]], last: int) -> None:
    places = [*(place for place, _ in points), max(last, points[-1][0]) + 0.5] if points else []
    held = [*(score for _, score in points), points[-1][1]] if points else []
    axes.fill_between(
        places,
        [100 * score.low for score in held],
        [100 * score.high for score in held],
        step="post",
        color=_COLOURS["accepted"],
        alpha=0.15,
        linewidth=0,
    )
    axes.step(places, [100 * score.mean for score in held], where="post", color=_COLOURS["accepted"], linewidth=1.6)


def _mark(axes: Any, gid: str, x: float, y: float, colour: str, shape: str, target: str) -> None:
    size = 6 if axes.get_xlim()[1] < _MANY else 4
    (mark,) = axes.plot([x], [y], color=_COLOURS[colour], marker=shape, markersize=size, linestyle="none", gid=gid)
    mark.set(url=f"#{target}", clip_on=False)


@contextmanager
def _figure(
    plot: str, x: str, y: str, names: Sequence[str]
) -> Iterator[tuple[Any, dict[str, str], Callable[[], str]]]:
    """Axes, the titles of marks by gid (to be filled), and what gives the SVG after the block is left.

    `plot`: what its ids begin with. `names`: of the places along the x axis, from 0 on.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": plot}
    with mpl.rc_context(style):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(_COLOURS["faint"])
        axes.tick_params(colors=_COLOURS["ink"])
        axes.grid(axis="y", color=_COLOURS["faint"], linewidth=0.5, alpha=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel(x, color=_COLOURS["ink"])
        axes.set_ylabel(y, color=_COLOURS["ink"])
        step = max(1, -(-len(names) // _MOST_LABELS))
        axes.set_xticks(range(0, len(names), step), names[::step])
        axes.set_xlim(-0.5, len(names) - 0.3)
        titles: dict[str, str] = {}
        file = io.BytesIO()
        yield axes, titles, lambda: _finished(plot, file.getvalue().decode(), titles)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})


def _finished(plot: str, svg: str, titles: Mapping[str, str]) -> str:
    """The SVG with titles and the page's colours, as a part of a page."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    root = ElementTree.fromstring(svg)
    for name in ("width", "height"):
        del root.attrib[name]
    root.set("role", "img")
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter(f"{{{_SVG}}}g"):
        if title := titles.get(element.get("id", "")):
            child = ElementTree.Element(f"{{{_SVG}}}title")
            child.text = title
            element.insert(0, child)
    for link in root.iter(f"{{{_SVG}}}a"):
        del link.attrib["target"]
        link.set("tabindex", "-1")  # by keyboard the list of iterations leads to the same
    own = [element for element in root.iter() if "id" in element.attrib]
    ids = "|".join(re.escape(element.attrib["id"]) for element in own)
    for element in own:
        element.set("id", f"{plot}-{element.get('id')}")
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(rf'(url\(#|xlink:href="#)({ids})(?=[)"])', rf"\1{plot}-\2", text)
    for name, colour in _COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text)
