"""The conformance kit's last check: 200 requests in the simulator, then every decision made again from the run's log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from policies.redecide import redecide_record
from policies.registry import PolicyError
from sim.run import simulate
from traces.conformance.examination import Examination, examine, find
from traces.conformance.finding import Check, Finding, Level
from traces.conformance.playing import brief, line_of
from traces.conformance.purity import PURE
from traces.conformance.sight import SIGHT
from traces.conformance.subject import Subject
from traces.errors import InputError
from traces.record import Record
from traces.scenario import Scenario
from traces.scenario.policy import parse_params, search_working_directory

_ARRIVALS_S, _DRAIN_S = 12, 12
_CHAT = {"name": "chat", "trace": "azure-2023-conv", "rate": "12/s", "slo": {"ttft": "500ms", "tpot": "30ms"}}
_BATCH = {"name": "batch", "trace": {"prompt_tokens": 1500, "output_tokens": 300}, "rate": "8/s", "offline": True}
_COMMON = {"model": "llama-3.1-8b", "duration": f"{_ARRIVALS_S}s", "drain": f"{_DRAIN_S}s", "seed": 1}
# Plenty of everything and a live view; then memory for a few requests at a time, and a view that is up to a quarter second old.
_RUNS: Mapping[str, Mapping[str, Any]] = {
    "two engines": {"fleet": {"gpu": "h200", "gpus": 2}, "workload": [{**_CHAT, "requests": 100}]},
    "three small engines with old views": {
        "fleet": {"gpu": "h200", "gpus": 3},
        "engine": {"num_gpu_blocks_override": 512, "max_model_len": 8192, "max_num_seqs": 16, "max_num_batched_tokens": 1024},
        "workload": [{**_CHAT, "requests": 50}, {**_BATCH, "requests": 50}],
        "sim": {"observe": "250ms"},
    },
}


def find_policy(target: str, point: str | None = None, params: Sequence[str] = ()) -> Subject:
    """The policy that a user names, registered or as ``module:Class``, which may lie in the working directory.

    ``params``: ``name=value`` each, as on the command line.

    Raises:
        InputError: there is no such policy, or it cannot be imported.
    """
    search_working_directory(target)
    try:
        return find(target, point, parse_params(params))
    except PolicyError as fault:
        raise InputError(str(fault)) from None


def examine_with_simulation(subject: Subject) -> Examination:
    """All checks of ``traces.conformance``, then those of this module."""
    return examine(subject, CHECKS, before=examine(subject))


def _run(subject: Subject) -> Iterator[Finding]:
    if subject.template is not None or not subject.importable:
        yield Finding(
            "simulation", Level.INFO, "not simulated: a scenario names a class at the top level of a module, not an object"
        )
        return
    served = decided = 0
    for name, scenario in _RUNS.items():
        try:
            waits = list(_unfinished(_simulated(subject, scenario, "off"), name))
            yield from waits
            if any(finding.level is Level.ERROR for finding in waits):
                return  # and spare the log a policy that spins
            record = _simulated(subject, scenario, "full")
        except InputError as fault:
            yield Finding(
                "simulation",
                Level.ERROR,
                f"the simulator stops on {name}: {fault}",
                "The world carries decisions out as they stand, and this one cannot be.",
                "Run `twinserve run` with this policy on a small scenario and `decisions: full`; the log shows the view.",
            )
            return
        except Exception as fault:  # whatever the policy raises
            where = line_of(fault, subject.modules)
            yield Finding(
                "simulation",
                Level.ERROR,
                f"raises {type(fault).__name__}: {fault}{f' ({where})' if where else ''} in a simulated run of {name}",
                "An exception in a policy ends the run, and in production takes the router or the engine down.",
                "Look at the views of the live engines (`tests/sim/cluster.py` shows how to set one up) and handle this case.",
            )
            return
        again = redecide_record(record.manifest, record.decisions or ())
        if not again.same:
            first = again.differences[0]
            yield Finding(
                "simulation",
                Level.ERROR,
                f"from the log of {name}, a fresh object decides {again.differ} of {again.decisions} times otherwise; first for "
                f"{first.who} at {first.now_s:.3f} s: {brief(first.logged)} in the run, then {brief(first.again)}",
                "This is the test of parity: the same policy object, fed what the run showed it, must decide as it did in the run.",
                "Let every decision follow from the views of this and earlier calls alone.",
            )
        served += record.requests.num_rows
        decided += again.decisions
    yield Finding(
        "simulation", Level.INFO, f"{served} requests were offered, and {decided} decisions made again alike from the log"
    )


_DRAFTING = {
    "speculative": {
        "method": "eagle3",
        "num_speculative_tokens": 6,
        "drafter": "eagle3/llama-3.1-8b/mt-bench",
        "tree_width": 3,
        "draft_time": "500us",
    }
}


def _simulated(subject: Subject, scenario: Mapping[str, Any], decisions: str) -> Record:
    if subject.point == "speculator":
        scenario = {**scenario, "engine": {**scenario.get("engine", {}), **_DRAFTING}}
    if subject.point == "scaler":
        scenario = {**scenario, "fleet": {**scenario["fleet"], "parked": 1, "start_up": "1s"}}
    policy = {subject.point: {subject.name: dict(subject.params)}}
    return simulate(Scenario.model_validate({**_COMMON, **scenario, "policy": policy, "decisions": decisions}))


def _unfinished(record: Record, name: str) -> Iterator[Finding]:
    outcome = record.requests.column("outcome").to_pylist()
    left = outcome.count("unfinished")
    if left:
        held = pc.sum(pc.is_null(record.requests.column("engine"))).as_py() - outcome.count("shed")
        yield Finding(
            "simulation",
            Level.ERROR,
            f"{left} of {len(outcome)} requests on {name} are still not done {_DRAIN_S} s after arrivals ended; "
            f"{held} of them are held in the router",
            "They wait for ever, though the engines have time: users see a time-out, and attainment counts every one as a miss.",
            "Assign what is held when an engine has room again; let no request sit out (a cap of 0) without end.",
        )
    if outcome.count("shed") > len(outcome) // 2:
        yield Finding(
            "simulation",
            Level.WARNING,
            f"{outcome.count('shed')} of {len(outcome)} requests on {name} are shed",
            "The load is light; a shed request counts as a miss.",
            "Shed only what cannot be served in time on any engine.",
        )


CHECKS = (
    Check(
        "simulation",
        "serves a small fleet in simulation, and decides again from its log",
        _run,
        after=("parameters", *PURE, *SIGHT, "survival", "legality", "globals", "identity", "determinism", "finality", "rebuild"),
    ),
)
