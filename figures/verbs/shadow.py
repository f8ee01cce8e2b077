"""The verb that watches servers and says what a router would have done."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path

import click

from figures.verbs.options import FILE, Quantity, guarded


@click.command(short_help="Print what a router would decide on servers that run.")
@click.argument("scenario", type=FILE)
@click.option("--for", "seconds", type=Quantity("duration", "parse_duration"), help="Stop after so long.  [default: at Ctrl-C]")
@click.option("--log", type=FILE, help="Arrivals: a file to which a JSON object per request is appended.  [default: counters]")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field, such as policy.router=least-loaded.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per decision, and one at the end.")
@guarded
def shadow(scenario: Path, seconds: float | None, log: Path | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Watch the servers that SCENARIO is attached to, and print what its router would have decided. Touches nothing.

    \b
    twinserve shadow production.yaml --for 5min
    twinserve shadow production.yaml --log requests.jsonl --set policy.router=power-of-two
    """
    from replay.shadow import Shadowed
    from replay.shadow import shadow as watch
    from traces.scenario import load_scenario

    would: Counter[str] = Counter()
    actual: Counter[str] = Counter()
    same = 0

    def tell(seen: Shadowed) -> None:
        nonlocal same
        kind, choice = type(seen.decision).__name__.lower(), seen.would
        would[choice or kind] += 1
        if seen.actual is not None:
            actual[seen.actual] += 1
            same += seen.actual == choice
        facts = {"at_s": round(seen.at_s, 3), "request": seen.request, "prompt_tokens": seen.prompt_tokens, "decision": kind}
        facts |= {"engine": choice, "actual": seen.actual, "reason": seen.decision.reason}
        if as_json:
            click.echo(json.dumps(facts))
            return
        went = "" if seen.actual is None else f" (it went to {seen.actual})"
        click.echo(f"{seen.at_s:8.2f} s  {seen.prompt_tokens:6d} tokens  {kind} {choice or ''}{went}: {seen.decision.reason}")

    with contextlib.suppress(KeyboardInterrupt):
        watch(load_scenario(scenario, sets), tell, seconds=float("inf") if seconds is None else seconds, log=log)
    total = would.total()
    if as_json:
        click.echo(json.dumps({"requests": total, "would": dict(would), "actual": dict(actual), "as_they_went": same}))
        return
    click.echo(f"{total} requests; the router would have taken {_listed(would)}")
    if actual:
        click.echo(f"they went to {_listed(actual)}; {same / total:.0%} as the router would have sent them")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
