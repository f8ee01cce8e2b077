"""From a scenario to the requests that a run serves.

Every entry draws from random streams keyed by (seed, its name), so that its requests stay the same whatever other entries stand
beside it, and whatever the fleet and the policies are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.streams import generator
from traces import arrivals
from traces.arrivals import ArrivalProcess, Times, arrival_times
from traces.builtin import BUILTIN
from traces.errors import InputError
from traces.lengths import Fixed, LengthModel, Lognormal, Marginal, Uniform
from traces.readers import read
from traces.scenario import Scenario
from traces.scenario import workload as parts
from traces.synthesis import backlog, builtin, synthesise
from traces.transforms import assign_mix, head, rescale_rate, slice_time, superpose, thin, with_class
from traces.workload import RequestClass, Workload


@dataclass(frozen=True, slots=True)
class Built:
    """A workload ready to run.

    ``concurrency``: for each closed loop, the code of its class (an index into ``workload.classes``) and how many of its requests
    are under way at any time. Their arrivals are all 0 and only give the order; the world sends the next one when one is done,
    until the scenario's ``duration``.
    """

    workload: Workload
    concurrency: Mapping[int, int]


def build_workload(scenario: Scenario) -> Built:
    """The requests of all entries in one table, by arrival.

    Raises:
        InputError: a trace cannot be read, nothing arrives in time, or a request does not fit the model's context window.
    """
    entries = [_entry(scenario, entry) for entry in scenario.workload]
    workload = superpose(entries)
    code = {klass.name: i for i, klass in enumerate(workload.classes)}
    loops = {code[entry.name]: entry.load.concurrency for entry in scenario.workload if entry.load is not None}
    return Built(workload, loops)


def _entry(scenario: Scenario, entry: parts.Entry) -> Workload:
    try:
        workload = _longer(_requests(entry, scenario), entry)
    except InputError as error:
        raise InputError(*(f"workload {entry.name}: {fault}" for fault in error.faults)) from None
    return _classified(_within_context(workload, entry, scenario), entry, scenario)


# --- requests and their arrivals --------------------------------------------------------------------------------------


def _requests(entry: parts.Entry, scenario: Scenario) -> Workload:
    match entry.trace:
        case parts.TraceFile():
            return _from_file(entry, entry.trace, scenario)
        case parts.Builtin():
            return _from_builtin(entry, entry.trace.builtin, scenario)
        case parts.Synthetic():
            return _made_up(entry, entry.trace, scenario)


def _from_builtin(entry: parts.Entry, name: str, scenario: Scenario) -> Workload:
    seed, number = _seed(entry, scenario, "trace"), entry.requests or entry.backlog
    if _all_at_once(entry):
        return _at(builtin(name, seed=seed, requests=number), np.zeros(number or 0), "all requests are there from the start")
    if entry.arrivals is None:
        return builtin(name, seed=seed, rate=entry.rate_per_s, requests=number, duration_s=scenario.duration_s)
    if number is None and scenario.duration_s is None:
        number = BUILTIN[name].requests
    times = _times(entry, entry.arrivals, number, scenario)
    return _at(builtin(name, seed=seed, requests=len(times)), times, f"arrival times of another process at {entry.rate_per_s:g}/s")


def _made_up(entry: parts.Entry, trace: parts.Synthetic, scenario: Scenario) -> Workload:
    lengths = LengthModel(_marginal(trace.prompt_tokens), _marginal(trace.output_tokens))
    seed, source = _seed(entry, scenario, "trace"), {"name": entry.name}
    if _all_at_once(entry):
        return backlog(lengths, requests=entry.requests or entry.backlog or 0, seed=seed, source=source)
    return synthesise(
        arrivals.Poisson() if entry.arrivals is None else _process(entry.arrivals),
        lengths,
        seed=seed,
        rate=entry.rate_per_s,
        requests=entry.requests,
        duration_s=scenario.duration_s,
        source=source,
    )


def _from_file(entry: parts.Entry, trace: parts.TraceFile, scenario: Scenario) -> Workload:
    workload = read(Path(trace.file), trace.format, _span_s(entry, trace, scenario), **trace.options)
    if trace.start_s or trace.end_s is not None:
        workload = slice_time(workload, trace.start_s, np.inf if trace.end_s is None else trace.end_s)
    if trace.thin is not None:
        workload = thin(workload, trace.thin, _seed(entry, scenario, "thin"))
    if (number := entry.requests or entry.backlog) is not None:
        workload = head(workload, number)
    if _all_at_once(entry):
        return _at(workload, np.zeros(len(workload)), "all requests are there from the start")
    if entry.arrivals is not None:
        times = _times(entry, entry.arrivals, len(workload), scenario)
        return _at(workload, times, f"arrival times of another process at {entry.rate_per_s:g}/s")
    if entry.rate_per_s is not None:
        workload = rescale_rate(workload, entry.rate_per_s)
    return workload if scenario.duration_s is None else slice_time(workload, 0.0, scenario.duration_s)


def _span_s(entry: parts.Entry, trace: parts.TraceFile, scenario: Scenario) -> tuple[float, float] | None:
    """Of the file's requests, those that can be served at all: a file of any size then takes the memory of its slice."""
    end_s = np.inf if trace.end_s is None else trace.end_s
    as_recorded = entry.rate_per_s is None and not _all_at_once(entry) and (entry.requests or entry.backlog) is None
    if as_recorded and scenario.duration_s is not None:
        end_s = min(end_s, trace.start_s + scenario.duration_s)
    return None if trace.start_s == 0 and end_s == np.inf else (trace.start_s, end_s)


def _all_at_once(entry: parts.Entry) -> bool:
    return entry.load is not None or entry.backlog is not None


def _at(workload: Workload, times: Times, note: str) -> Workload:
    """The first requests of a workload, in its order, at other times."""
    return dataclasses.replace(workload.take(np.arange(len(times))), arrival_s=times).noted(note)


def _times(entry: parts.Entry, chosen: parts.Arrivals, number: int | None, scenario: Scenario) -> Times:
    rng = generator(scenario.seed, "workload", entry.name, "arrivals")
    times = arrival_times(_process(chosen), rate=entry.rate_per_s, rng=rng, requests=number, duration_s=scenario.duration_s)
    if not len(times):
        raise InputError("no request arrives in the scenario's duration; raise the rate or the duration")
    return times


def _process(chosen: parts.Arrivals) -> ArrivalProcess:
    if chosen.poisson is not None:
        return arrivals.Poisson()
    if chosen.gamma is not None:
        return arrivals.Gamma(chosen.gamma.cv)
    if chosen.weibull is not None:
        return arrivals.Weibull(chosen.weibull.cv)
    if chosen.onoff is not None:
        return arrivals.OnOff(chosen.onoff.on_s, chosen.onoff.off_s, chosen.onoff.off_rate)
    if chosen.varying is not None:
        return arrivals.VaryingRate(chosen.varying.profile, chosen.varying.step_s)
    return arrivals.Even()


def _marginal(length: parts.Length) -> Marginal:
    if length.lognormal is not None:
        shape = length.lognormal
        return Lognormal(shape.mean, shape.sigma, shape.min, shape.max)
    if length.uniform is not None:
        return Uniform(length.uniform.min, length.uniform.max)
    assert length.fixed is not None
    return Fixed(length.fixed)


def _seed(entry: parts.Entry, scenario: Scenario, use: str) -> int:
    return int(generator(scenario.seed, "workload", entry.name, use).integers(2**62))


def _longer(workload: Workload, entry: parts.Entry) -> Workload:
    """With lengths multiplied by the entry's factors; a longer prompt has no more shared blocks than before."""
    prompt, output = entry.prompt_factor, entry.output_factor
    if prompt != 1:
        workload = _cut(workload, _times_factor(workload.prompt_tokens, prompt)).noted(f"prompts multiplied by {prompt:g}")
    if output != 1:
        outputs = _times_factor(workload.output_tokens, output)
        workload = dataclasses.replace(workload, output_tokens=outputs).noted(f"outputs multiplied by {output:g}")
        classes = [dataclasses.replace(k, expected_output_tokens=k.expected_output_tokens * output) for k in workload.classes]
        workload = dataclasses.replace(workload, classes=tuple(classes))
    return workload


def _times_factor(tokens: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(np.rint(tokens * factor), 1, 2**31 - 1).astype(np.int32)


# --- what they are to the fleet ---------------------------------------------------------------------------------------


def _classified(workload: Workload, entry: parts.Entry, scenario: Scenario) -> Workload:
    expected = entry.expected_output_tokens or workload.classes[0].expected_output_tokens
    whole = RequestClass(
        name=entry.name,
        tier=entry.tier or entry.name,
        model=entry.model or scenario.model,
        offline=entry.offline,
        slo=(entry.slo or parts.Objective()).slo(),
        expected_output_tokens=expected,
        priority=entry.priority,
    )
    if entry.slo_mix is None:
        return with_class(workload, whole)
    arms = [
        (dataclasses.replace(whole, name=f"{entry.name}/{arm.tier}", tier=arm.tier, slo=arm.slo.slo()), arm.share)
        for arm in entry.slo_mix
    ]
    limits = [np.inf if arm.prompts_up_to is None else arm.prompts_up_to for arm in entry.slo_mix]
    return assign_mix(workload, arms, _seed(entry, scenario, "mix"), limits)


def _within_context(workload: Workload, entry: parts.Entry, scenario: Scenario) -> Workload:
    """Prompts that leave room for no output are refused or cut; outputs end at the context window, as vLLM ends them."""
    pools = scenario.serving(entry.model or scenario.model)
    window = min(pool.window for pool in pools)
    prompt, output = workload.prompt_tokens, workload.output_tokens
    if (too_long := prompt >= window).any():
        row = int(np.argmax(too_long))
        if not entry.truncate:
            more = f" and {too_long.sum() - 1} more" if too_long.sum() > 1 else ""
            raise InputError(
                f"workload {entry.name}: row {row}: a prompt of {prompt[row]} tokens{more} does not fit the context window of "
                f"{window} tokens; add `truncate: true` to the entry, or raise engine.max_model_len where it is set"
            )
        prompt = np.where(too_long, np.maximum(window - output, 1), prompt).astype(np.int32)
        workload = _cut(workload, prompt).noted(f"{too_long.sum()} prompts cut to the context window of {window} tokens")
    if (beyond := prompt + output.astype(np.int64) > window).any():
        output = np.where(beyond, window - prompt, output).astype(np.int32)
        workload = dataclasses.replace(workload, output_tokens=output)
        workload = workload.noted(f"{beyond.sum()} outputs end at the context window of {window} tokens")
    room = min(pool.kv_tokens for pool in pools)
    if (longest := int((prompt.astype(np.int64) + output).max())) > room:
        raise InputError(
            f"workload {entry.name}: a request of {longest} tokens does not fit the {room} KV tokens of an engine; "
            "raise engine.num_gpu_blocks_override"
        )
    return workload


def _cut(workload: Workload, prompt: np.ndarray) -> Workload:
    """With prompts of other lengths, and the blocks that lay beyond a shorter one's end gone."""
    workload = dataclasses.replace(workload, prompt_tokens=prompt)
    if workload.block_offsets is None or workload.block_ids is None:
        return workload
    counts = np.diff(workload.block_offsets)
    kept = np.minimum(counts, -(-prompt.astype(np.int64) // workload.block_tokens))
    position = np.arange(len(workload.block_ids)) - np.repeat(workload.block_offsets[:-1], counts)
    offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return dataclasses.replace(workload, block_offsets=offsets, block_ids=workload.block_ids[position < np.repeat(kept, counts)])
