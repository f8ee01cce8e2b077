"""A scenario: everything that a run depends on, from one YAML file. The only place where a user's configuration is parsed.

`load_scenario` reads and checks a file; `Scenario.resolved` gives it back as plain data in SI units with every default filled in.
What a file may hold is told by the models here and in the modules beside this one; `Scenario.json_schema` tells editors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from policies.intent import Intent
from traces.errors import InputError
from traces.hardware import GPUS, ModelShape, model
from traces.scenario import faults
from traces.scenario.document import Document, Keys, dotted, read
from traces.scenario.fields import Count, ModelName, Noise, NotEmpty, Number, Part, Seconds, Switch
from traces.scenario.fleet import Engine, Faults, Fleet, KVTransfer, Pool, Positive, default_knobs
from traces.scenario.intents import Wish
from traces.scenario.policy import Policy
from traces.scenario.pools import EnginePool, inventory_faults, pool_faults, resolve
from traces.scenario.replay import Replay
from traces.scenario.sharing import interference_faults
from traces.scenario.sweep import Sweep
from traces.scenario.workload import Entry, FrontEnd

_DRAIN_S = 300.0


class Sim(Part):
    """How the simulator runs; none of it describes the fleet, except the router's view of it."""

    leap: Switch = Field(True, description="jump over decode steps in which nothing changes; the results are the same")
    observe_s: Seconds = Field(0.0, alias="observe", description="refresh interval of the router's view of the engines; 0 = live")
    noise: Noise | None = Field(None, description="standard deviation of step times as a share; default: the fingerprint's")
    steps: Switch = Field(True, description="write the table of engine steps")


class Scenario(Part):
    """A fleet, what it serves, the policies that run it, and for how long."""

    name: str = Field("scenario", description="of the scenario; default: the file's name")
    model: ModelName = Field(description="the model served, such as llama-3.1-8b; pools and workload entries may name another")
    declared: Fleet = Field(alias="fleet", description="the GPUs: one pool of identical engines, or a list of pools")
    inventory: dict[str, Positive] | None = Field(
        None,
        description="GPUs by type, such as {h200: 4}, where pools are candidates that cannot all be up; default: all there are",
    )
    interference: dict[str, dict[str, Annotated[Number, Field(ge=1)]]] | None = Field(
        None,
        description="measured, of engines that share GPUs: {chat: {tags: 1.3}} makes a step of pool chat take 1.3 times as long "
        "while an engine of pool tags is at work on its GPU; default: 2, time slicing",
    )
    engine: Engine = Field(Engine(), description="knobs of each engine, under vLLM's names")
    workload: Annotated[tuple[Entry, ...], NotEmpty] = Field(description="the kinds of requests")
    frontend: FrontEnd | None = Field(None, description="what lies between clients and the fleet; default: nothing")
    kv_transfer: KVTransfer | None = Field(None, description="from prefill to decode engines, where pools have roles")
    intents: tuple[Wish, ...] | None = Field(
        None, description="what is wanted of each model's deployment, for a scaler that goes by it; default: nothing is said"
    )
    failures: Faults | None = Field(None, alias="faults", description="failures of engines; default: none")
    policy: Policy = Field(default_factory=Policy.default, description="router and batcher; default: vLLM's")
    duration_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        None, alias="duration", description="when arrivals stop; default: when the workload runs out"
    )
    drain_s: Seconds | None = Field(
        None, alias="drain", description="how long after `duration` requests may still finish; default: 5min"
    )
    warmup_s: Seconds = Field(0.0, alias="warmup", description="leave this long out of the metrics at the start")
    seed: Annotated[Count, Field(ge=0, lt=2**63)] = Field(0, description="of all random numbers")
    sim: Sim = Field(Sim(), description="how the simulator runs")
    extrapolate: Switch = Field(False, description="accept steps beyond the range for which step times are calibrated")
    replay: Replay | None = Field(None, description="what `twinserve replay` runs on; the simulator takes no notice of it")
    decisions: Literal["off", "summary", "full"] = Field("off", description="how much of the policies' decisions is logged")
    sweep: Sweep | None = Field(None, description="what `twinserve sweep` varies; a single run takes no notice of it")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Defaults that depend on other keys, and parts that were left empty."""
        if not isinstance(data, dict):
            return data
        data = {key: value for key, value in data.items() if value is not None}
        if "duration" in data:
            data.setdefault("drain", _DRAIN_S)
        fleet, engine = data.get("fleet"), data.setdefault("engine", {})
        gpu = fleet.get("gpu") if isinstance(fleet, dict) else None
        if isinstance(engine, dict) and isinstance(gpu, str) and gpu in GPUS:
            given = {key: value for key, value in engine.items() if value is not None}
            data["engine"] = default_knobs(given, GPUS[gpu]) | given
        if isinstance(fleet, list | tuple) and all(isinstance(pool, dict) for pool in fleet):
            data["fleet"] = [_with_knobs(pool, engine) for pool in fleet]
            if any(pool.get("role") in ("prefill", "decode") for pool in fleet):
                data.setdefault("kv_transfer", {})
        return data

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from pool_faults(self)
        yield from inventory_faults(self)
        yield from interference_faults(self)
        yield from self._intent_faults()
        yield from self._fault_faults()
        if self.duration_s is None and self.drain_s is not None:
            yield (
                "drain",
                "counts from `duration`, which is not set; add `duration:`, or remove it (the run then serves all requests)",
            )
        if self.duration_s is not None and self.warmup_s >= self.duration_s:
            yield "warmup", f"is {self.warmup_s:g} s, which leaves nothing of a duration of {self.duration_s:g} s; shorten it"
        names = [entry.name for entry in self.workload]
        for i, entry in enumerate(self.workload):
            if entry.name in names[:i]:
                yield f"workload.{i}.name", f"`{entry.name}` is the name of another entry too; give each its own"
            if self.duration_s is None and not entry.ends_by_itself():
                yield f"workload.{i}", "has no end; give it `requests:`, or the scenario a `duration:`"

    def _intent_faults(self) -> Iterator[tuple[str, str]]:
        if self.intents and self.policy.scaler is None:
            yield "intents", "nobody goes by them; add `policy: {scaler: iserve}`, or remove them"
        served = {pool.model or self.model for pool in self.declared_pools}
        for i, wish in enumerate(self.intents or ()):
            if (name := wish.model or self.model) not in served:
                yield f"intents.{i}.model", f"no pool of the fleet serves {name}; name one of {', '.join(sorted(served))}"

    def _fault_faults(self) -> Iterator[tuple[str, str]]:
        engines = sum(pool.engines for pool in self.declared_pools)
        for i, outage in enumerate(self.failures.events if self.failures is not None else ()):
            number = outage.engine.removeprefix("e")
            if not (number.isdecimal() and outage.engine == f"e{int(number)}" and int(number) < engines):
                yield f"faults.events.{i}.engine", f"there is no engine `{outage.engine}`; use one of e0 to e{engines - 1}"
        for key, there in (("faults", self.failures), ("policy.scaler", self.policy.scaler)):
            if there is not None and self.duration_s is None:
                yield key, "goes on for as long as the run does, which has no end of its own; add `duration:`"

    @property
    def shape(self) -> ModelShape:
        """The model's data sheet."""
        return model(self.model)

    @property
    def declared_pools(self) -> tuple[Pool, ...]:
        """The pools as the file has them."""
        return self.declared if isinstance(self.declared, tuple) else (self.declared,)

    @property
    def fleet(self) -> Pool:
        """The fleet where it is one pool; the first pool of several."""
        return self.declared_pools[0]

    @cached_property
    def pools(self) -> tuple[EnginePool, ...]:
        """All pools, ready to be built; their engines count through, in order."""
        return resolve(self)

    @property
    def wishes(self) -> Iterator[tuple[float, str, Intent]]:
        """From when on in seconds, of which model, what is wanted."""
        return ((wish.at_s, wish.model or self.model, wish.intent()) for wish in self.intents or ())

    def serving(self, model: str) -> tuple[EnginePool, ...]:
        """The pools of a model."""
        return tuple(pool for pool in self.pools if pool.model == model)

    @property
    def kv_blocks(self) -> int:
        """KV blocks of each engine of the first pool, of `engine.block_size` tokens."""
        return self.pools[0].kv_blocks

    @property
    def end_s(self) -> float | None:
        """When the run ends at the latest; ``None`` = when its last request is done."""
        return None if self.duration_s is None else self.duration_s + (self.drain_s or 0.0)

    def resolved(self) -> dict[str, Any]:
        """Plain JSON-able data in SI units, all defaults filled in, keys in a fixed order; validates to an equal scenario."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema of a scenario file, for editors."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cls.model_json_schema(by_alias=True)}


def _with_knobs(pool: Mapping[str, Any], engine: Any) -> dict[str, Any]:
    """A pool with the knobs whose defaults depend on its GPU, where neither it nor `engine:` says them."""
    own = pool.get("engine") or {}
    gpu = pool.get("gpu")
    if not isinstance(gpu, str) or gpu not in GPUS or not isinstance(own, dict) or not isinstance(engine, dict):
        return dict(pool)
    given = {key: value for key, value in {**engine, **own}.items() if value is not None}
    defaults = {key: value for key, value in default_knobs(given, GPUS[gpu]).items() if key not in given}
    return {**pool, "engine": {**defaults, **own}} if defaults or own else dict(pool)


def load_scenario(path: str | Path, sets: Sequence[str] = ()) -> Scenario:
    """The scenario in a file, with overrides such as `workload.chat.rate=20/s` applied before anything is checked.

    Relative paths of files count from the scenario's folder, those in an override from the working directory.

    Raises:
        InputError: one line per fault, "file:line: key.path: what is wrong; what to do".
    """
    document = read(path)
    for option in sets:
        document.set(option)
    found = [*_locate_files(document, Path(path).parent), *_code_by_name(document), *_key_for_its_own_server(document)]
    if found:
        raise InputError(*found)
    document.data.setdefault("name", Path(path).stem)
    try:
        return Scenario.model_validate(document.data)
    except ValidationError as error:
        raise InputError(*faults.lines(error, Scenario, document)) from None


def _locate_files(document: Document, folder: Path) -> Iterator[str]:
    """Makes the paths of trace files and fingerprints absolute."""
    entries, fleet = document.data.get("workload"), document.data.get("fleet")
    named: list[tuple[Keys, Any, str]] = [
        (("workload", i, "trace", "file"), entry.get("trace"), "get the trace (`twinserve traces get`)")
        for i, entry in enumerate(entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
    ]
    pools = [(("fleet", i), pool) for i, pool in enumerate(fleet)] if isinstance(fleet, list) else [(("fleet",), fleet)]
    named += [((*keys, "fingerprint"), pool, "make one (`twinserve fingerprint`)") for keys, pool in pools]
    for keys, holder, remedy in named:
        if isinstance(holder, dict) and isinstance(path := holder.get(keys[-1]), str):
            place = document.place(keys)
            file = ((folder if place.line else Path()) / Path(path).expanduser()).resolve()
            if not file.exists():
                yield f"{place}: {dotted(keys)}: {file}: no such file; correct the path, or {remedy}"
            holder[keys[-1]] = str(file)


def _code_by_name(document: Document) -> Iterator[str]:
    """A scenario may come from a stranger: it cannot make us import a module, only the person at the command line can."""
    policy = document.data.get("policy")
    for point, choice in policy.items() if isinstance(policy, dict) else ():
        names = choice if isinstance(choice, dict) else [choice]
        place = document.place(("policy", str(point)))
        if place.line and any(":" in str(name) for name in names):
            yield (
                f"{place}: policy.{point}: a file cannot name a class to import; name an installed policy, or pass it on the "
                f"command line with --set policy.{point}=module:Class"
            )


def _key_for_its_own_server(document: Document) -> Iterator[str]:
    """Nor can a stranger's file choose both a secret of ours and the server that it is sent to."""
    replay = document.data.get("replay")
    if isinstance(replay, dict) and replay.get("urls") and replay.get("api_key_env"):
        key, urls = (document.place(("replay", part)) for part in ("api_key_env", "urls"))
        if key.line and urls.line:
            yield (
                f"{key}: replay.api_key_env: a file cannot name both the servers and the key that is sent to them; pass the key's "
                f"variable on the command line with --set replay.api_key_env={replay['api_key_env']}"
            )
