"""The `intents:` part of a scenario: what is wanted of the deployment of a model, from some time on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from policies.intent import Goal, Intent
from traces.scenario.fields import Fraction, ModelName, Number, Part, Seconds, Switch

Limit = Annotated[Seconds, Field(gt=0)]


class Wish(Part):
    """One model's intent, from `at` on until the next one for the same model."""

    model: ModelName | None = Field(None, description="whose deployment; default: the scenario's model")
    at_s: Seconds = Field(0.0, alias="at", description="from when on it is wanted, from the start of the run")
    goal: Goal = Field("min_latency", description="what is to be least; min_memory_time is what MaverIQ calls cost")
    latency_s: Limit | None = Field(None, alias="latency", description="of one request alone, to its last token, at most")
    ttft_s: Limit | None = Field(None, alias="ttft", description="mean time to first token at the load that there is, at most")
    tpot_s: Limit | None = Field(None, alias="tpot", description="mean time per output token at that load, at most")
    usd_per_mtok: Annotated[Number, Field(gt=0)] | None = Field(None, description="$ per million output tokens, at most")
    accuracy: Annotated[Fraction, Field(gt=0)] | None = Field(None, description="relative to 16 bits, at least, such as 99%")
    cautious: Switch = Field(False, description="limits hold at the bad end of each estimate's interval")

    def intent(self) -> Intent:
        """As policies see it."""
        return Intent(self.goal, self.latency_s, self.ttft_s, self.tpot_s, self.usd_per_mtok, self.accuracy, self.cautious)
