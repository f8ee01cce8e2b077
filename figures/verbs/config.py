"""Verbs on scenario files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, JSON, guarded

_SCHEMA = Path(".twinserve/scenario.schema.json")


@click.group(short_help="Scenario files: examples to start from, checks, schema.")
def config() -> None:
    """Scenario files: start from an example, check them, help editors."""


@config.command("init", short_help="List the gallery by question, or write its scenario NAME.")
@click.argument("name", required=False, shell_complete=completion.examples)
@click.argument("target", type=FILE, required=False)
@JSON
@guarded
def init(name: str | None, target: Path | None, as_json: bool) -> None:
    """List the gallery by question, or write its scenario NAME into TARGET (NAME.yaml here), with comments.

    Beside it goes the schema by which editors complete keys and explain them.

    \b
    twinserve config init
    twinserve config init peak-load mine.yaml
    """
    from figures.catalogue import print_gallery
    from traces import gallery

    if name is None:
        print_gallery(as_json)
        return
    path = target or Path(f"{name}.yaml")
    gallery.copy(name, path, _SCHEMA)
    schema_file = path.parent / _SCHEMA
    schema_file.parent.mkdir(exist_ok=True)
    schema_file.write_text(_schema_text(), encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"example": name, "path": str(path), "schema": str(schema_file)}, ensure_ascii=False))
    else:
        click.echo(f"{path}: {gallery.example(name).question}")


@config.command("validate", short_help="Check SCENARIO: one line per fault, with line and remedy.")
@click.argument("scenario", type=FILE)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field.")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object, with every default filled in.")
@guarded
def validate(scenario: Path, sets: tuple[str, ...], as_json: bool) -> None:
    """Check SCENARIO: one line per fault, with line and remedy; exit code 0 if it can be run."""
    from traces.scenario import load_scenario

    found = load_scenario(scenario, sets)
    if as_json:
        click.echo(json.dumps(found.resolved(), indent=2, ensure_ascii=False))
    else:
        fleet = ", ".join(f"{pool.gpus} × {pool.gpu}" for pool in found.declared_pools)
        entries = ", ".join(entry.name for entry in found.workload)
        click.echo(f"{scenario}: valid: {found.model} on {fleet}; workload {entries}; router {found.policy.router.name}")


@config.command("schema")
@click.option("--json", "as_json", is_flag=True, help="On one line. (It is JSON in any case.)")
@guarded
def schema(as_json: bool) -> None:
    """Print the JSON schema of scenario files, for editors.

    \b
    twinserve config schema > scenario.schema.json
    """
    click.echo(_schema_text(None if as_json else 2), nl=False)


def _schema_text(indent: int | None = 2) -> str:
    from traces.scenario import Scenario

    return json.dumps(Scenario.json_schema(), indent=indent, ensure_ascii=False) + "\n"
