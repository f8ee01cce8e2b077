"""The `engine.speculative:` part of a scenario: what drafts, how many tokens, and how many of them the model accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from traces.scenario.fields import Count, Part, Seconds
from traces.units import parse_fraction


def _rates(value: Any) -> tuple[float, ...]:
    return tuple(map(parse_fraction, value if isinstance(value, list | tuple) else (value,)))


Rates = Annotated[
    tuple[float, ...],
    BeforeValidator(_rates),
    WithJsonSchema(
        {"anyOf": [{"type": ["number", "string"]}, {"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1}]}
    ),
]


class Speculative(Part):
    """Speculative decoding under vLLM's names, and how it turns out. Draft tokens are accepted at random, each for itself."""

    PAIRED_WITH_ASYNC: ClassVar = ("draft_model", "eagle", "eagle3", "mtp")
    """The methods that vLLM plans ahead for."""

    method: Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"] = Field(description="what drafts")
    num_speculative_tokens: Annotated[Count, Field(ge=1)] = Field(description="draft tokens per request and step at most")
    acceptance: Rates = Field(
        description="share of draft tokens accepted among those whose predecessors were: one number, or one for each place in the "
        "chain"
    )
    draft_time_s: Seconds = Field(
        0.0, alias="draft_time", description="time to draft one token for all requests of a step, on top of the step; default: 0"
    )

    def faults(self) -> Iterator[tuple[str, str]]:
        if len(self.acceptance) not in (1, self.num_speculative_tokens):
            yield (
                "acceptance",
                f"has {len(self.acceptance)} rates, and chains have {self.num_speculative_tokens} tokens; give one for each, or "
                "one for all",
            )
