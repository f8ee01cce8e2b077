"""Verbs on fingerprints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, JSON, guarded

PLOT = click.option("--plot", type=FILE, help="Draw fit and residuals into this PNG, SVG or PDF file.")


@click.group(short_help="Step times of a model on a GPU: what is known, how well.")
def fingerprint() -> None:
    """Step times of a model on a GPU: what is known, from what, how well.

    NAME is model/gpu/tpN/precision, such as llama-3.1-8b/h200/tp1/bf16, or a fingerprint's .json file.
    """


@fingerprint.command("list")
@click.argument("pattern", default="*")
@JSON
@guarded
def list_fingerprints(pattern: str, as_json: bool) -> None:
    """The library's files, such as list 'qwen*/h200/*'. Other deployments are computed from data sheets."""
    from fnmatch import fnmatch

    from figures.fingerprints import listing
    from traces.errors import InputError
    from traces.fingerprints import available

    names = [name for name in available() if fnmatch(name, f"*{pattern}*")]
    if not names:
        raise InputError(f"{pattern}: no file of the library matches; see twinserve fingerprint list")
    click.echo(json.dumps(names) if as_json else listing(names))


@fingerprint.command()
@click.argument("name", shell_complete=completion.fingerprints)
@PLOT
@JSON
@guarded
def show(name: str, plot: Path | None, as_json: bool) -> None:
    """What fingerprint NAME says, and what it rests on."""
    from figures import fingerprints as view
    from traces.fingerprints import named_fingerprint

    found = named_fingerprint(name)
    click.echo(json.dumps(view.facts(found), ensure_ascii=False) if as_json else view.page(found))
    if plot is not None:
        view.draw(found, plot)


@fingerprint.command()
@click.argument("name", shell_complete=completion.fingerprints)
@click.option("--prefill", type=click.IntRange(min=0), default=0, help="Prompt tokens computed in the step.")
@click.option("--prior", type=click.IntRange(min=0), default=0, help="Tokens of that prompt computed before.")
@click.option("--decode", type=click.IntRange(min=0), default=0, help="Decoding requests.")
@click.option("--context", type=click.IntRange(min=1), default=1024, show_default=True, help="KV tokens of each of them.")
@click.option("--verify", type=click.IntRange(min=0), default=0, help="Draft tokens verified in all.")
@click.option("--extrapolate", is_flag=True, help="Answer beyond the calibrated range too.")
@JSON
@guarded
def predict(name: str, prefill: int, prior: int, decode: int, context: int, verify: int, extrapolate: bool, as_json: bool) -> None:
    """How long a step takes.

    \b
    twinserve fingerprint predict llama-3.1-8b/h200/tp1/bf16 --decode 64 --context 2000
    """
    from policies.latency import FingerprintLatency, StepShape, outside_calibration
    from traces.errors import InputError
    from traces.fingerprints import named_fingerprint

    found = named_fingerprint(name)
    shape = StepShape(prefill, prefill * (prior + prefill / 2), int(prefill > 0), decode, decode * context, verify)
    beyond = outside_calibration(found, shape)
    if beyond and not extrapolate:
        raise InputError(*(f"{sentence}; stay within, or add --extrapolate" for sentence in beyond))
    seconds = FingerprintLatency(found).seconds(shape)
    if as_json:
        click.echo(json.dumps({"name": found.name, "seconds": seconds, "noise": found.residual, "extrapolated": beyond}))
        return
    click.echo(f"{1e3 * seconds:.3f} ms ± {found.residual:.1%} ({found.name}, {found.provenance})")
    for sentence in beyond:
        click.echo(f"Warning: extrapolated: {sentence}")


@fingerprint.command()
@click.argument("a", shell_complete=completion.fingerprints)
@click.argument("b", shell_complete=completion.fingerprints)
@JSON
@guarded
def compare(a: str, b: str, as_json: bool) -> None:
    """Step times of fingerprint B beside those of A."""
    from figures import fingerprints as view
    from traces.fingerprints import named_fingerprint

    one, other = named_fingerprint(a), named_fingerprint(b)
    click.echo(json.dumps(view.comparison(one, other), ensure_ascii=False) if as_json else view.comparison_page(one, other))


@fingerprint.command(short_help="Fit a fingerprint to operator tables or to measurements.")
@click.argument("name", shell_complete=completion.fingerprints)
@click.option("--tables", type=FILE, help="AIConfigurator's systems folder: assemble from its operator tables.")
@click.option("--measured", type=FILE, help="CSV of concurrency, prompt_tokens, output_tokens, tpot_ms: fit NAME to it.")
@click.option("--engine", metavar="VERSION", help="Refuse tables of another engine version than this, such as 0.24.0.")
@click.option("--out", type=FILE, help="Write the fingerprint into this .json file.")
@PLOT
@JSON
@guarded
def fit(
    name: str, tables: Path | None, measured: Path | None, engine: str | None, out: Path | None, plot: Path | None, as_json: bool
) -> None:
    """Fit a fingerprint of deployment NAME, from operator tables or to end-to-end measurements.

    \b
    twinserve fingerprint fit llama-3.1-8b/h200/tp1/fp8 --tables .../aiconfigurator_core/systems
    twinserve fingerprint fit llama-3.1-8b/h200/tp1/bf16 --measured tpot.csv --out mine.json
    """
    from figures import fingerprints as view
    from traces.assembly.fitting import fitted
    from traces.assembly.library import to_json

    found, errors = fitted(name, tables, measured, engine)
    if out is not None:
        out.write_text(to_json(found), encoding="utf-8")
    click.echo(json.dumps(view.facts(found), ensure_ascii=False) if as_json else view.page(found))
    if plot is not None:
        view.draw(found, plot, errors)


@fingerprint.command(short_help="How step times vary around their mean, from a replay.")
@click.argument("name", shell_complete=completion.fingerprints)
@click.argument("replay", type=FILE, required=False)
@click.option("--scenario", type=FILE, help="In place of REPLAY: what share of p99 TPOT noise explains in this scenario.")
@click.option("--seeds", type=int, default=5, show_default=True, help="Of the scenario: pairs of runs.")
@JSON
@guarded
def noise(name: str, replay: Path | None, scenario: Path | None, seeds: int, as_json: bool) -> None:
    """Step noise in REPLAY, a requests.jsonl of LLMServingSim's bench of deployment NAME."""
    from traces.assembly.noise import decode_gaps, quantiles
    from traces.errors import InputError
    from traces.fingerprints import named_fingerprint

    if scenario is not None:
        _print_share(name, scenario, seeds, as_json)
        return
    if replay is None:
        raise InputError("nothing to look at: give a replay's requests.jsonl, or --scenario")
    gaps = decode_gaps(replay, named_fingerprint(name))
    single = gaps.single
    found = {
        "gaps": len(gaps.steps),
        "single_steps": len(single),
        "sigma": float(single.std()),
        "quantiles": quantiles(single),
        "correlation": gaps.correlation,
        "drift": gaps.drift,
        "measured_over_fingerprint": gaps.ratio,
    }
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{len(gaps.steps)} gaps without prefill, {len(single)} of a single step")
    click.echo(f"noise of a step: {single.std():.2%}, correlation of successive gaps {gaps.correlation:.2f}")
    click.echo(f"measured over fingerprint: {gaps.ratio:.3f}, drifting by {gaps.drift:.1%}")


@fingerprint.command(short_help="Hold the library against measured TTFT and TPOT.")
@click.argument("data", metavar="DATA_FOLDER", type=FILE)
@click.option("--out", type=FILE, help="Write tables, rows and pictures into this folder.")
@click.option("--quick", is_flag=True, help="A quarter of the rows: for a look.")
@click.option("--aiconfigurator", "peer", type=FILE, help="Python of an environment that has it: show its answers beside.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: one per core.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn lengths.")
@JSON
@guarded
def validate(data: Path, out: Path | None, quick: bool, peer: Path | None, jobs: int | None, seed: int, as_json: bool) -> None:
    """Hold the library against measured TTFT and TPOT in DATA_FOLDER (perf/e2e, perf/llmservingsim).

    Every measured row that the library covers is simulated, as assembled and as shipped; takes a minute.
    """
    from figures.validation.__main__ import validated

    click.echo(validated(data, out, peer_python=peer, seed=seed, quick=quick, jobs=jobs, as_json=as_json))


@fingerprint.command(short_help="Measure the step times of SCENARIO's engine on vLLM.")
@click.argument("scenario", type=FILE)
@click.option("--layers", help="Keep so many layers, such as 1,2, one engine after the other, and extrapolate.  [default: all]")
@click.option("--check", "checked", is_flag=True, help="With --layers: hold the prediction against an engine with all layers.")
@click.option("--seconds", type=float, default=180.0, show_default=True, help="For all engines, start-up not counted.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field, such as replay.shape=small.")
@click.option("--samples", type=FILE, help="Write every measured step into this .json file.")
@click.option("--out", type=FILE, required=True, help="Write the fingerprint into this .json file.")
@PLOT
@JSON
@guarded
def measure(
    scenario: Path,
    layers: str | None,
    checked: bool,
    seconds: float,
    sets: tuple[str, ...],
    samples: Path | None,
    out: Path,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure the step times of SCENARIO's engine on vLLM; exit code 1 if a checked prediction is further off than allowed.

    \b
    twinserve fingerprint measure scenario.yaml --out mine.json
    twinserve fingerprint measure scenario.yaml --layers 1,2 --check --out mine.json
    """
    from figures import fingerprints as view
    from figures.measuring import check_lines, facts
    from replay.measuring import measure_fingerprint
    from traces.assembly.library import to_json
    from traces.scenario import load_scenario

    counts = _layers(layers)

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"{text} …", err=True)

    found = measure_fingerprint(load_scenario(scenario, sets), counts, seconds, checked=checked, tell=tell)
    out.write_text(to_json(found.fingerprint), encoding="utf-8")
    if samples is not None:
        samples.write_text(json.dumps(found.samples_data()), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(facts(found), ensure_ascii=False))
    else:
        click.echo("\n".join([view.page(found.fingerprint), *check_lines(found)]))
    if plot is not None:
        view.draw(found.fingerprint, plot)
    if not found.sound:
        sys.exit(1)


def _layers(text: str | None) -> list[int]:
    from traces.errors import InputError

    try:
        counts = [int(word) for word in (text or "").split(",") if word]
    except ValueError:
        counts = [0]
    if any(count < 1 for count in counts):
        raise InputError(f"--layers: {text!r} is not a list of numbers of layers; write it like 1,2")
    return counts


def _print_share(name: str, scenario: Path, seeds: int, as_json: bool) -> None:
    from statistics import fmean

    from sim.noiseshare import noise_share
    from traces.fingerprints import named_fingerprint
    from traces.scenario import load_scenario

    sigma = named_fingerprint(name).residual
    found = noise_share(load_scenario(scenario), sigma, seeds)
    low, high = found.interval
    if as_json:
        p99 = {"p99_s": found.noisy_s, "silent_p99_s": found.silent_s, "tenfold_p99_s": found.tenfold_s}
        click.echo(json.dumps({**p99, "share": found.share, "share.lo": low, "share.hi": high}))
        return
    noisy, silent = 1e3 * fmean(found.noisy_s), 1e3 * fmean(found.silent_s)
    click.echo(f"p99 TPOT {noisy:.2f} ms with noise, {silent:.2f} ms without, means over {seeds} seeds")
    told = "" if low > 0 or high < 0 else ", which cannot be told from 0"
    click.echo(f"noise explains {found.share:.1%} (95 % interval {low:.1%} to {high:.1%}){told}")
    click.echo(f"with log-normal noise ten times as large, {10 * sigma:.0%}: {1e3 * found.tenfold_s:.3f} ms")
