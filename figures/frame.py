"""What every figure of a paper is made of, and what comes of it: a picture, its data, its caption and its reproduction table.

A figure takes its data from sweeps and searches of scenario files (``figures/scenarios``), draws them, and lists what the paper
leads one to expect. :func:`produce` does the rest, the same for all: ``NAME.png`` and ``NAME.svg``; ``NAME.csv``, the data that was
drawn, one row per point and seed; ``NAME.caption.txt``; ``NAME.md`` and ``NAME.json``, caption, provenance and reproduction table
for people and for machines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from figures import reproduction
from figures.paper import PRINT_DPI, paper_rc
from figures.recorded import Recorded
from figures.reproduction import Expectation, Row
from figures.runner import Noting, Runner
from figures.style import LIGHT, Theme
from figures.units import limit
from traces.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

    from policies.types import SLO
    from traces.scenario import Scenario

SCENARIOS = Path(__file__).with_name("scenarios")


@dataclass(frozen=True, slots=True)
class Source:
    """The paper a figure answers, and which of its figures; ``figure`` is empty where there is no counterpart."""

    paper: str
    figure: str = ""

    def __str__(self) -> str:
        return f"{self.paper}, {self.figure}" if self.figure else self.paper


class Figure(Protocol):
    """One figure. Its scenarios, axes and expectations are fixed before any result is seen.

    ``size``: inches, a width of ``figures.paper``. ``caption``: what is shown and how to read it; what was run is added to it.
    """

    name: str
    title: str
    source: Source
    size: tuple[float, float]
    caption: str
    expected: Sequence[Expectation]

    def data(self, runner: Runner) -> DataFrame:
        """A tidy table, as :mod:`figures.runner` lays it out, of everything that is drawn or compared."""
        ...

    def draw(self, frame: DataFrame, canvas: Any, theme: Theme) -> None:
        """Draw the data on ``canvas``, a blank matplotlib figure of ``size``."""
        ...


@dataclass(frozen=True, slots=True)
class Produced:
    """A figure that was made: its files and what it found."""

    name: str
    title: str
    caption: str
    rows: Sequence[Row]
    files: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "figure": self.name,
            "title": self.title,
            "caption": self.caption,
            "reproduction": [row.to_json() for row in self.rows],
            "files": [str(path) for path in self.files],
        }


def produce(figure: Figure, runner: Runner, folder: Path, theme: Theme = LIGHT, traces: Path | None = None) -> Produced:
    """Run, draw and write a figure; the files are replaced together, once all of them are complete.

    ``traces``: a folder with recorded traces, for ``figures.recorded``.

    Raises:
        InputError: the folder cannot be written, or a run of the figure fails.
    """
    noting = Noting(runner)
    frame = figure.data(Recorded(noting, traces) if traces is not None else noting)
    rows = [expectation.row(frame) for expectation in figure.expected]
    facts = provenance(noting, quick=runner.quick)
    caption = f"{figure.title}. {figure.caption} {facts['sentence']}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{figure.name}.", dir=folder) as temporary:
            draft = Path(temporary)
            save(figure, frame, draft, theme)
            frame.to_csv(draft / f"{figure.name}.csv", index=False, lineterminator="\n")
            (draft / f"{figure.name}.caption.txt").write_text(caption + "\n", "utf-8")
            page = _page(figure, caption, rows, facts)
            (draft / f"{figure.name}.md").write_text(page, "utf-8")
            told = {
                "figure": figure.name,
                "title": figure.title,
                "source": str(figure.source),
                "caption": caption,
                "provenance": facts,
                "reproduction": [row.to_json() for row in rows],
            }
            (draft / f"{figure.name}.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
            files = [folder / path.name for path in sorted(draft.iterdir())]
            for path in files:
                os.replace(draft / path.name, path)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder with --out") from None
    return Produced(figure.name, figure.title, caption, rows, files)


def save(figure: Figure, frame: DataFrame, folder: Path, theme: Theme = LIGHT) -> None:
    """The picture alone, as PNG at print resolution and as SVG with its letters as outlines."""
    import matplotlib

    with matplotlib.rc_context(paper_rc(theme)):
        canvas = drawn(figure, frame, theme)
        canvas.savefig(folder / f"{figure.name}.png", dpi=PRINT_DPI, metadata={"Software": None})
        canvas.savefig(folder / f"{figure.name}.svg", metadata={"Date": None})


def drawn(figure: Figure, frame: DataFrame, theme: Theme = LIGHT) -> Any:
    """The figure on a matplotlib canvas, under the paper's settings whatever those around are."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(paper_rc(theme)):
        canvas = Canvas(figsize=figure.size)
        FigureCanvasAgg(canvas)
        figure.draw(frame, canvas, theme)
    return canvas


# --- what was run -----------------------------------------------------------------------------------------------------


def provenance(noted: Noting, *, quick: bool) -> dict[str, Any]:
    """What a figure's data rest on, as facts and as the sentences that end its caption."""
    from sim.manifest import decisive
    from traces.fingerprints import pool_fingerprint
    from traces.hashes import hash_code, hash_config
    from traces.scenario import load_scenario

    asked = noted.asked
    seeds = sorted({seed for one in asked for seed in one.seeds} | set(noted.seeds))
    scenarios: dict[str, dict[str, Any]] = {}
    fingerprints: dict[str, dict[str, str]] = {}
    runs: dict[tuple[str, str], list[str]] = {}
    for one in asked:
        scenario = load_scenario(one.scenario, one.sets)
        config = hash_config(decisive(scenario.resolved()))
        if config in scenarios:
            scenarios[config]["varied"] = list(dict.fromkeys([*scenarios[config]["varied"], *one.varied]))
            continue
        fleet = scenario.fleet
        fingerprint = pool_fingerprint(scenario.model, fleet)
        scenarios[config] = {"name": scenario.name, "sets": list(one.sets), "hash": config, "varied": one.varied}
        known = {
            "name": fingerprint.name,
            "provenance": fingerprint.provenance,
            "engine": fingerprint.engine,
            "source": fingerprint.source,
        }
        fingerprints[fingerprint.name] = known
        runs.setdefault((_ran(scenario), scenario.name), []).append(config)
    sentences = [f"Simulated: {ran} (scenario {name}, hash {', '.join(hashes)})." for (ran, name), hashes in runs.items()]
    sentences += [f"Step times: fingerprint {known['name']}, {_origin(known)}." for known in fingerprints.values()]
    sentences += dict.fromkeys(noted.sentences)
    if seeds:
        sentences.append(f"Seeds {_list(seeds)}.")
    if quick:
        sentences.append("Quick setting: fewer and shorter runs; not for quoting.")
    return {
        "world": "sim",
        "quick": quick,
        "seeds": seeds,
        "scenarios": list(scenarios.values()),
        "fingerprints": list(fingerprints.values()),
        "code": hash_code(),
        "sentence": " ".join(sentences),
    }


def _ran(scenario: Scenario) -> str:
    fleet = scenario.fleet
    engines = f"{fleet.engines} × " if fleet.engines > 1 else ""
    width = f" on {fleet.gpus_per_engine} GPUs each" if fleet.gpus_per_engine > 1 else ""
    parts = [f"{scenario.model} ({fleet.precision}) on {engines}{fleet.gpu.upper()}{width}"]
    parts += [_entry(entry) for entry in scenario.workload]
    if scenario.duration_s is not None:
        parts.append(f"{limit(scenario.duration_s)} of arrivals, the first {limit(scenario.warmup_s)} not measured")
    return ", ".join(parts)


def _entry(entry: Any) -> str:
    trace = entry.trace
    lengths = getattr(trace, "builtin", None) or (Path(trace.file).name if hasattr(trace, "file") else "synthetic lengths")
    process = (
        None
        if entry.arrivals is None
        else next(name for name in type(entry.arrivals).model_fields if getattr(entry.arrivals, name) is not None)
    )
    text = f"{lengths} requests" + (
        f" with {process.capitalize() if process == 'poisson' else process} arrivals" if process else ""
    )
    if entry.load is not None:
        text += " in a closed loop"
    return text + (f", SLO {_slo(entry.slo.slo())}" if entry.slo is not None else "")


def _slo(slo: SLO) -> str:
    limits = (("TTFT", slo.ttft_s), ("TPOT", slo.tpot_s), ("E2E", slo.e2e_s))
    return " and ".join(f"{name} {limit(value)}" for name, value in limits if value is not None)


def _origin(fingerprint: Mapping[str, str]) -> str:
    told = {"assembled": "assembled from published operator tables, not measured here", "measured": "measured"}
    origin = told.get(fingerprint["provenance"], fingerprint["provenance"])
    return f"{origin} ({fingerprint['engine']})"


def _list(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]}–{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def command(name: str, *, quick: bool) -> str:
    """What makes the figure."""
    return f"twinserve figures {name}" + (" --quick" if quick else "")


def _page(figure: Figure, caption: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    made_by = command(figure.name, quick=facts["quick"])
    table = reproduction.markdown(rows) if rows else "Nothing is expected of this figure."
    return (
        f"# {figure.title}\n\n![{figure.title}]({figure.name}.png)\n\n{caption}\n\n"
        f"Source: {figure.source}. Data: [{figure.name}.csv]({figure.name}.csv). Made by `{made_by}` (code {facts['code']}).\n\n"
        f"## Reproduction\n\n{table}\n"
    )
