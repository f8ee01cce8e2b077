"""Verbs on scenario files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from figures.verbs.options import FILE, guarded


@click.group()
def config() -> None:
    """Scenario files."""


@config.command("validate")
@click.argument("scenario", type=FILE)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field.")
@guarded
def validate(scenario: Path, sets: tuple[str, ...]) -> None:
    """Check SCENARIO and print it with every default filled in."""
    from traces.scenario import load_scenario

    click.echo(json.dumps(load_scenario(scenario, sets).resolved(), indent=2, ensure_ascii=False))


@config.command("schema")
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from traces.scenario import Scenario

    click.echo(json.dumps(Scenario.json_schema(), indent=2, ensure_ascii=False))
