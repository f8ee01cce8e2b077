"""The `engine.speculative:` part of a scenario: what drafts, how many tokens, and how many of them the model accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from traces.scenario.document import nearest
from traces.scenario.fields import Count, Part, Seconds
from traces.units import parse_fraction


def _rates(value: Any) -> tuple[float, ...] | None:
    return None if value is None else tuple(map(parse_fraction, value if isinstance(value, list | tuple) else (value,)))


Rates = Annotated[
    tuple[float, ...],
    WithJsonSchema(
        {"anyOf": [{"type": ["number", "string"]}, {"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1}]}
    ),
]

_EVERYONE = ""
"""In `drafters`: the drafter of entries that have none of their own."""


class Speculative(Part):
    """Speculative decoding under vLLM's names, and how it turns out. Draft tokens are accepted at random, each for itself."""

    PAIRED_WITH_ASYNC: ClassVar = ("draft_model", "eagle", "eagle3", "mtp")
    """The methods that vLLM plans ahead for."""

    method: Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"] = Field(description="what drafts")
    num_speculative_tokens: Annotated[Count, Field(ge=1)] = Field(description="draft tokens per request and step at most")
    acceptance: Annotated[Rates | None, BeforeValidator(_rates)] = Field(
        None,
        description="share of draft tokens accepted among those whose predecessors were: one number, or one for each place in the "
        "chain",
    )
    drafter: str | dict[str, str] | None = Field(
        None,
        description="in place of acceptance: a drafter with published measurements, or one for each workload entry by name; it has "
        "beliefs of its own, which may be wrong. Simulated only",
    )
    tree_width: Annotated[Count, Field(ge=1)] = Field(
        1, description="with a drafter: draft tokens in each layer of a tree at most; vLLM verifies chains alone, which is 1"
    )
    draft_time_s: Seconds = Field(
        0.0, alias="draft_time", description="time to draft one token for all requests of a step, on top of the step; default: 0"
    )

    @property
    def drafters(self) -> Mapping[str, str]:
        """By workload entry; under "" that of all entries."""
        return self.drafter if isinstance(self.drafter, dict) else {} if self.drafter is None else {_EVERYONE: self.drafter}

    def drafter_of(self, klass: str) -> str:
        """The drafter of a workload class: an entry, or an arm of its SLO mix."""
        entry = klass.partition("/")[0]
        return next(self.drafters[name] for name in (klass, entry, _EVERYONE) if name in self.drafters)

    @field_validator("drafter")
    @classmethod
    def _drafters_exist(cls, drafter: str | dict[str, str] | None) -> str | dict[str, str] | None:
        from policies.drafting.known import DRAFTERS

        for name in [drafter] if isinstance(drafter, str) else (drafter or {}).values():
            if name not in DRAFTERS:
                raise ValueError(f"there is no drafter `{name}`; {nearest(name, list(DRAFTERS))}")
        return drafter

    def faults(self) -> Iterator[tuple[str, str]]:
        if (self.acceptance is None) == (self.drafter is None):
            yield "acceptance", "or else `drafter` says what is accepted; give one of the two"
        if self.acceptance is not None and len(self.acceptance) not in (1, self.num_speculative_tokens):
            yield (
                "acceptance",
                f"has {len(self.acceptance)} rates, and chains have {self.num_speculative_tokens} tokens; give one for each, or "
                "one for all",
            )
        if self.tree_width > 1 and self.drafter is None:
            yield "tree_width", "needs to know what a drafter chooses beside its first choice; name a `drafter`, or set 1"
