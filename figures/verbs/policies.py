"""Verbs on policies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from figures.verbs import completion
from figures.verbs.options import FILE, console, guarded
from traces.errors import InputError


@click.group()
def policies() -> None:
    """What decides: routers, scalers, batchers, speculators."""


@policies.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def list_policies(as_json: bool) -> None:
    """All policies, built in and installed, by decision point."""
    from figures.catalogue import print_policies
    from policies.registry import catalogue

    print_policies(catalogue(), as_json)


@policies.command("show")
@click.argument("point", metavar="[POINT]", shell_complete=completion.points_and_policies)
@click.argument("name", required=False, metavar="NAME", shell_complete=completion.policies)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def show_policy(point: str, name: str | None, as_json: bool) -> None:
    """One policy: what it does, its parameters, its source. POINT (router, batcher …) where several have one of that name."""
    from figures.catalogue import print_policy
    from policies.registry import PolicyError, describe

    if name is None:
        point, name = _only_point(point), point
    try:
        card = describe(point, name)
    except PolicyError as error:
        raise InputError(str(error)) from None
    print_policy(card, as_json)


def _only_point(name: str) -> str:
    from policies.registry import POINTS, names

    found = [point for point in POINTS if name in names(point)]
    if not found:
        raise InputError(f"policies show: there is no policy {name!r}; `twinserve policies list` has all of them")
    if len(found) > 1:
        raise InputError(f"policies show: {name} is {', '.join(found)}; say which, as in `policies show {found[0]} {name}`")
    return found[0]


@policies.command("check", short_help="Does a policy keep its promises? Nineteen checks tell.")
@click.argument("words", nargs=-1, metavar="[POINT] TARGET", shell_complete=completion.points_and_policies)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="Build the policy with this parameter.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def check_policy(words: tuple[str, ...], params: tuple[str, ...], as_json: bool) -> None:
    """Does a policy keep its promises? TARGET is a name or module:Class; exit code 1 if it does not.

    \b
    twinserve policies check my_package.routers:MyRouter
    twinserve policies check router power-of-two --param choices=3
    """
    from figures.checkview import examination_json, print_examination
    from sim.policycheck import examine_with_simulation, find_policy

    if len(words) not in (1, 2):
        raise InputError("policies check: needs a policy; name it, as `[router|batcher] NAME` or as module:Class")
    *point, target = words
    subject = find_policy(target, point[0] if point and point[0] != "auto" else None, params)
    found = examine_with_simulation(subject)
    if as_json:
        click.echo(json.dumps(examination_json(subject, found), ensure_ascii=False))
    else:
        print_examination(subject, found, console())
    if not found.sound:
        sys.exit(1)


@policies.command("new")
@click.argument("point", shell_complete=completion.points)
@click.argument("name")
@click.option("--dir", "folder", type=FILE, help="Where to write it.  [default: a folder NAME here]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def new_policy(point: str, name: str, folder: Path | None, as_json: bool) -> None:
    """Write a package with a new policy and its test. POINT is router, scaler or batcher.

    \b
    twinserve policies new router my-router
    """
    from figures.checkview import print_scaffold
    from policies.registry import PolicyError
    from traces.conformance.scaffold import scaffold

    try:
        written = scaffold(point, name, folder or Path(name))
    except (PolicyError, OSError) as error:
        raise InputError(str(error)) from None
    print_scaffold(point, name, written, as_json)


@policies.command("recheck", short_help="Decide a run's decisions again with fresh policy objects.")
@click.argument("record", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@guarded
def recheck_record(record: Path, as_json: bool) -> None:
    """Decide a run's decisions again with fresh policy objects; exit code 1 if any differs, or there are none.

    \b
    twinserve replay scenario.yaml --set decisions=full --out runs/real
    twinserve policies recheck runs/real
    """
    from figures.recheckview import print_redecision, redecision_json
    from policies.redecide import redecide_record
    from traces.record import Record

    read = Record.read(record)
    if read.decisions is None:
        raise InputError(f"{record}: has no decision log; run the scenario again with `decisions: full`")
    try:
        found = redecide_record(read.manifest, read.decisions)
    except ValueError as error:
        raise InputError(f"{record}: {error}") from None
    if as_json:
        click.echo(json.dumps(redecision_json(found), ensure_ascii=False))
    else:
        print_redecision(found, read.manifest, console())
    if not found.same:
        sys.exit(1)
