"""The `workload:` part of a scenario: one entry per kind of request, where they come from, when, and what they are promised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, field_validator, model_validator
from pydantic_core import CoreSchema

from policies.types import SLO
from traces.scenario.document import nearest
from traces.scenario.fields import (
    IN_WORDS,
    Count,
    Fraction,
    NotEmpty,
    Number,
    Part,
    PerSecond,
    Scalar,
    Seconds,
    ServedModel,
    Switch,
)

Tokens = Annotated[Count, Field(ge=1, lt=2**31)]


class Objective(Part):
    """Latency objectives of a request; what is left out is not promised."""

    ttft_s: Annotated[Seconds, Field(gt=0)] | None = Field(
        None, alias="ttft", description="arrival to first token, queueing included"
    )
    tpot_s: Annotated[Seconds, Field(gt=0)] | None = Field(None, alias="tpot", description="time per output token after the first")
    e2e_s: Annotated[Seconds, Field(gt=0)] | None = Field(None, alias="e2e", description="arrival to last token")

    def slo(self) -> SLO:
        """As policies see it."""
        return SLO(self.ttft_s, self.tpot_s, self.e2e_s)


class Arm(Part):
    """One tier of an SLO mix."""

    share: Annotated[Fraction, Field(gt=0)] = Field(description="its share of the entry's requests, such as 60%")
    tier: str = Field(min_length=1, description="name of the tier")
    slo: Objective = Field(description="what its requests are promised")
    prompts_up_to: Tokens | None = Field(
        None, description="only for prompts of at most so many tokens; longer ones are drawn among the other arms; default: all"
    )


# --- where requests come from -----------------------------------------------------------------------------------------


class Builtin(Part):
    """A built-in workload, drawn from published statistics of a real trace; needs no file."""

    TAG: ClassVar[str] = "<builtin>"
    builtin: str = Field(description="its name, see `twinserve traces list`")

    def has_arrivals(self) -> bool:
        """Whether the trace says when requests come; some are lists of lengths."""
        from traces.builtin import BUILTIN

        return BUILTIN[self.builtin].arrivals is not None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        from traces.builtin import BUILTIN

        names = {"enum": list(BUILTIN)}
        schema = handler(core_schema)
        schema["properties"]["builtin"] |= names
        return {"anyOf": [names, schema]}

    @field_validator("builtin")
    @classmethod
    def _exists(cls, name: str) -> str:
        from traces.builtin import BUILTIN

        if name not in BUILTIN:
            raise ValueError(f"there is no built-in workload `{name}`; {nearest(name, list(BUILTIN))}, or give {{file: PATH}}")
        return name


class TraceFile(Part):
    """A recorded trace. Its requests keep their lengths, prefixes and arrival times; `rate:` stretches the times."""

    TAG: ClassVar[str] = "<file>"
    file: str = Field(min_length=1, description="path, relative to the scenario file; .gz and .zst are unpacked on the way")
    format: str | None = Field(None, description="the file's format, see `twinserve traces list`; recognised when left out")
    options: dict[str, Scalar] = Field({}, description="of the format's reader, such as {jitter: true} for mooncake")
    start_s: Seconds = Field(0.0, alias="start", description="leave out what arrives before this time of the trace")
    end_s: Seconds | None = Field(None, alias="end", description="leave out what arrives at or after this time of the trace")
    thin: Annotated[Fraction, Field(gt=0)] | None = Field(None, description="keep this share of the requests, drawn at random")

    def has_arrivals(self) -> bool:
        """Always."""
        return True

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        from traces.readers import FORMATS

        if name is not None and name not in FORMATS:
            raise ValueError(f"there is no trace format `{name}`; {nearest(name, list(FORMATS))}")
        return name

    def faults(self) -> Iterator[tuple[str, str]]:
        from traces.readers import FORMATS

        known = list(FORMATS[self.format].options) if self.format is not None else list(self.options)
        for option in self.options:
            if option not in known:
                yield f"options.{option}", f"format {self.format} has no such option; {nearest(option, known)}"
        if self.end_s is not None and self.end_s <= self.start_s:
            yield "end", f"the slice ends at {self.end_s:g} s, not after its start at {self.start_s:g} s; let it end later"


class Lognormal(Part):
    """A log-normal distribution of token counts, clipped."""

    mean: Annotated[Number, Field(ge=1)] = Field(description="mean before clipping, in tokens")
    sigma: Annotated[Number, Field(ge=0)] = Field(description="standard deviation of the logarithm")
    min: Tokens = Field(1, description="shorter draws become this many tokens")
    max: Tokens = Field(2**31 - 1, description="longer draws become this many tokens")

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.max < self.min:
            yield "max", f"is {self.max}, less than min ({self.min}); swap them"


class Uniform(Part):
    """Every number of tokens from `min` to `max` equally often."""

    min: Tokens = Field(description="fewest tokens")
    max: Tokens = Field(description="most tokens")

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.max < self.min:
            yield "max", f"is {self.max}, less than min ({self.min}); swap them"


class Length(Part):
    """Tokens per request: a number, or one distribution."""

    fixed: Tokens | None = Field(None, description="the same number for all; may be written alone")
    lognormal: Lognormal | None = Field(None, description="mean, sigma, and the shortest and longest")
    uniform: Uniform | None = Field(None, description="from min to max")

    SHORT: ClassVar = {"type": "integer", "minimum": 1}

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_fixed(cls, value: Any) -> Any:
        return value if isinstance(value, dict | Length) else {"fixed": value}

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from _exactly_one(self, "write tokens as a number, or as {lognormal: {mean: 1050, sigma: 0.6}}")


class Synthetic(Part):
    """Requests with made-up lengths, prompt and output independent of each other."""

    TAG: ClassVar[str] = "<synthetic>"
    prompt_tokens: Length = Field(description="a number, {lognormal: {mean, sigma, min, max}} or {uniform: {min, max}}")
    output_tokens: Length = Field(description="as prompt_tokens; the first token included")

    def has_arrivals(self) -> bool:
        """Never."""
        return False


def _kind_of_trace(value: Any) -> str | None:
    """The branch that a trace's keys are judged by, misspelt ones included."""
    if isinstance(value, Part):
        return getattr(value, "TAG", None)
    if not isinstance(value, dict):
        return None
    if "builtin" in value or "file" in value:
        return Builtin.TAG if "builtin" in value else TraceFile.TAG
    about_lengths = any(str(key).startswith(("prompt", "output")) for key in value)
    return Synthetic.TAG if about_lengths else TraceFile.TAG


Trace = Annotated[
    Annotated[Builtin, Tag(Builtin.TAG)] | Annotated[TraceFile, Tag(TraceFile.TAG)] | Annotated[Synthetic, Tag(Synthetic.TAG)],
    Discriminator(
        _kind_of_trace,
        custom_error_type=IN_WORDS,
        custom_error_message="is no trace; write a built-in's name, {file: PATH} or {prompt_tokens: 1024, output_tokens: 128}",
    ),
]


# --- when they come ---------------------------------------------------------------------------------------------------


class Poisson(Part):
    """Independent users: exponential gaps."""


class Even(Part):
    """Equal gaps."""


class Bursty(Part):
    """Gaps with a coefficient of variation: above 1 bursty, below 1 smooth."""

    cv: Annotated[Number, Field(gt=0, le=100)] = Field(description="coefficient of variation of the gaps")


class OnOff(Part):
    """Poisson arrivals in exponential on periods, (almost) silence between them."""

    on_s: Annotated[Seconds, Field(gt=0)] = Field(alias="on", description="mean length of an on period")
    off_s: Annotated[Seconds, Field(gt=0)] = Field(alias="off", description="mean length of an off period")
    off_rate: Annotated[Fraction, Field(lt=1)] = Field(0.0, description="rate in off periods, as a share of that in on periods")


class Varying(Part):
    """Poisson arrivals whose rate follows a profile, over and over; `rate:` sets the profile's mean over the run."""

    profile: Annotated[tuple[Annotated[Number, Field(ge=0)], ...], NotEmpty] = Field(description="relative rates, one per step")
    step_s: Annotated[Seconds, Field(gt=0)] = Field(alias="step", description="how long each of them lasts")

    def faults(self) -> Iterator[tuple[str, str]]:
        if not any(self.profile):
            yield "profile", "is 0 throughout, so that nothing would arrive; give at least one positive rate"


class Arrivals(Part):
    """One arrival process; a name alone stands for the process without parameters."""

    poisson: Poisson | None = Field(None, description="independent users: exponential gaps")
    even: Even | None = Field(None, description="equal gaps")
    gamma: Bursty | None = Field(None, description="gamma-distributed gaps of a given burstiness")
    weibull: Bursty | None = Field(None, description="Weibull-distributed gaps of a given burstiness, with a longer tail")
    onoff: OnOff | None = Field(None, description="busy periods and silence in turn, each of random length")
    varying: Varying | None = Field(None, description="a rate that follows a profile, such as that of a day")

    SHORT: ClassVar = {"enum": ["poisson", "even"]}

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in cls.model_fields:
            raise ValueError(f"there is no arrival process `{value}`; {nearest(value, list(cls.model_fields))}")
        return {value: {}}

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from _exactly_one(self, "write one process, such as poisson or {gamma: {cv: 2}}")


class Loop(Part):
    """Closed-loop load: the next request is sent when one of those under way is done."""

    concurrency: Annotated[Count, Field(ge=1)] = Field(description="requests under way at any time")


class FrontEnd(Part):
    """The API server between clients and the fleet: HTTP, tokenizer, detokenizer and the stream back. Its time counts in TTFT.

    The defaults are ``figures.validation``'s, chosen on the fit part of measured closed loops under vLLM.
    """

    base_s: Seconds = Field(5e-3, alias="base", description="per request")
    per_token_s: Seconds = Field(3e-6, alias="per_token", description="per prompt token")


# --- an entry ---------------------------------------------------------------------------------------------------------


class Entry(Part):
    """One kind of request. Its name is its class in the record, and its tier where no tier is named."""

    name: str = Field(min_length=1, description="what the record and the report call it")
    trace: Trace = Field(description="a built-in workload's name, {file: PATH} or {prompt_tokens: …, output_tokens: …}")
    rate_per_s: Annotated[PerSecond, Field(gt=0)] | None = Field(
        None, alias="rate", description="mean arrival rate; default: the trace's own"
    )
    arrivals: Arrivals | None = Field(None, description="arrival process, used with rate; default: the trace's own, else poisson")
    load: Loop | None = Field(None, description="closed-loop load in place of arrivals")
    backlog: Annotated[Count, Field(ge=1)] | None = Field(None, description="offline: so many requests, all there from the start")
    requests: Annotated[Count, Field(ge=1)] | None = Field(
        None, description="stop after so many; default: as many as the trace has"
    )
    model: ServedModel | None = Field(None, description="the model asked for; default: the scenario's")
    offline: Switch = Field(False, description="batch work that nobody waits for")
    priority: Count = Field(0, description="under `scheduling_policy: priority`; smaller is served first")
    tier: str | None = Field(None, min_length=1, description="SLO tier; default: the entry's name")
    slo: Objective | None = Field(None, description="latency objectives: ttft, tpot, e2e")
    slo_mix: Annotated[tuple[Arm, ...], NotEmpty] | None = Field(
        None, description="tiers by share in place of slo; shares add up to 100%"
    )
    truncate: Switch = Field(False, description="cut prompts that exceed the context window, in place of refusing them")
    prompt_factor: Annotated[Number, Field(gt=0)] = Field(1.0, description="multiply the tokens of every prompt, to ask what if")
    output_factor: Annotated[Number, Field(gt=0)] = Field(1.0, description="multiply the tokens of every output, to ask what if")
    expected_output_tokens: Annotated[Number, Field(ge=1)] | None = Field(
        None, description="what policies are told to expect before they learn; default: the mean of a generated trace, else 256"
    )

    @field_validator("trace", mode="before")
    @classmethod
    def _name_of_a_builtin(cls, value: Any) -> Any:
        return {"builtin": value} if isinstance(value, str) else value

    def faults(self) -> Iterator[tuple[str, str]]:
        drivers = [
            key for key, value in (("rate", self.rate_per_s), ("load", self.load), ("backlog", self.backlog)) if value is not None
        ]
        if len(drivers) > 1:
            yield drivers[1], f"stands beside `{drivers[0]}`; requests come by a rate, a closed loop or as a backlog: keep one"
        if not drivers and not self.trace.has_arrivals():
            yield "", "says what requests are but not when they come; add `rate:`, `load: {concurrency: …}`, or `backlog:`"
        if self.arrivals is not None and self.rate_per_s is None:
            yield "arrivals", "needs a rate; add `rate:`, such as 12/s"
        if self.backlog is not None and not self.offline:
            yield "backlog", "is for offline work; add `offline: true`, or use `load: {concurrency: …}`"
        if self.backlog is not None and self.requests is not None:
            yield "requests", "stands beside `backlog`, which already is the number of requests; remove one"
        if self.load is not None and self.requests is None and not isinstance(self.trace, TraceFile):
            yield "load", "has no end, as a closed loop sends as fast as it is served; add `requests:`, how many to send in all"
        if self.slo_mix is not None:
            yield from self._mix_faults(self.slo_mix)

    def _mix_faults(self, arms: tuple[Arm, ...]) -> Iterator[tuple[str, str]]:
        for key, value in (("slo", self.slo), ("tier", self.tier), ("load", self.load)):
            if value is not None:
                yield key, "stands beside `slo_mix`; keep one of them"
        if abs((total := sum(arm.share for arm in arms)) - 1) > 1e-6:
            yield "slo_mix", f"shares add up to {total:.4g}; let them add up to 100%"
        if all(arm.prompts_up_to is not None for arm in arms):
            yield "slo_mix", "has no arm for the longest prompts; leave `prompts_up_to` out of one at least"
        tiers = [arm.tier for arm in arms]
        for tier in sorted({tier for tier in tiers if tiers.count(tier) > 1}):
            yield "slo_mix", f"tier `{tier}` is listed twice; join the two"

    def ends_by_itself(self) -> bool:
        """Whether its requests run out without a `duration:`."""
        return not isinstance(self.trace, Synthetic) or self.requests is not None or self.backlog is not None


def _exactly_one(part: Part, remedy: str) -> Iterator[tuple[str, str]]:
    chosen = [name for name in type(part).model_fields if getattr(part, name) is not None]
    if len(chosen) != 1:
        yield "", f"names {len(chosen)} of {', '.join(type(part).model_fields)}, where it takes one; {remedy}"
