"""The simulator held against vLLM's own scheduler in virtual time, request by request."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from traces.agreement import TOLERANCE, Agreement, agreement
from traces.record import Record
from traces.scenario import Scenario

if TYPE_CHECKING:
    from rich.console import Console


def both_worlds(scenario: Scenario) -> tuple[Record, Agreement]:
    """Run a scenario in both worlds, without noise and with every decision logged; the replayed record, and how they agree.

    Raises:
        InputError: the scenario cannot be run in one of them.
    """
    from replay.run import replay
    from sim.run import simulate

    quiet = scenario.model_copy(update={"sim": scenario.sim.model_copy(update={"noise": 0.0}), "decisions": "full"})
    record = replay(quiet)
    return record, agreement(record, simulate(quiet))


def agreement_json(found: Agreement) -> dict[str, Any]:
    """The comparison as plain data."""
    return {**asdict(found), "equal": found.equal, "tolerance": TOLERANCE}


def print_agreement(found: Agreement, console: Console) -> None:
    """The comparison as a table, and the first decision that differs, if any does."""
    from rich.table import Table

    console.print(f"the simulator against vLLM's scheduler in virtual time, {found.requests:,} requests")
    table = Table()
    table.add_column("per request")
    table.add_column("worst difference", justify="right")
    for name, worst in found.worst.items():
        table.add_row(name, f"{worst:.1e}" if worst else "0")
    for name, differ in found.differ.items():
        table.add_row(name, f"{differ} requests" if differ else "0")
    if found.decided is not None:
        table.add_row("decisions", f"{found.decisions} of {found.decided}" if found.decisions else f"0 of {found.decided}")
    console.print(table)
    verdict = f"equal: TTFT and TPOT of every request within {TOLERANCE:.0%}, all else the same"
    console.print(verdict if found.equal else f"NOT equal (TTFT and TPOT within {TOLERANCE:.0%}, all else the same)")
    if found.first is not None:
        for world, decision in zip(("vLLM", "simulator"), found.first, strict=True):
            console.print(f"first decision that differs, {world}: {decision}", soft_wrap=True, markup=False)
