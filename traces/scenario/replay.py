"""The `replay:` part of a scenario: what `twinserve replay` runs the scenario on. The simulator takes no notice of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from traces.scenario.fields import Count, NotEmpty, Part, Seconds

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


Size = Literal["full", "small", "mini", "tiny"]


class Replay(Part):
    """How vLLM's engines are run, or reached.

    `managed`: one vLLM server per engine, started and stopped by the run. `attached`: servers that are there already, at `urls`.
    `in-process`: vLLM's engines in this very process, stepped one after the other. `virtual`: vLLM's scheduler without a model, in
    virtual time, each step lasting what the fingerprint says.
    """

    engines: Literal["managed", "attached", "in-process", "virtual"] = Field("managed", description="which vLLM engines to run on")
    urls: tuple[str, ...] = Field((), description="of `attached` servers, one per engine, such as http://host:8000")
    weights: str | None = Field(
        None, description="a local model folder; default: random weights in the shape of the scenario's model"
    )
    shape: Size | dict[str, Size] = Field(
        "full",
        description="of random weights: the model's own, or a stand-in for CPUs whose steps take some ms, or hardly any time; "
        "for all models, or by model",
    )
    drafter: str | None = Field(None, description="a local folder of the model that drafts, where `engine.speculative` needs one")
    parked: Literal["auto", "idle", "sleep", "stop"] = Field(
        "auto",
        description="what a parked managed engine does: it idles; sleeps, weights in main memory; or is stopped. An idle one "
        "takes the scenario's `start_up` to come up, as in the simulator, any other as long as it takes. auto: sleeps on a GPU",
    )
    layers: Annotated[Count, Field(ge=1)] | None = Field(None, description="keep only this many layers of the model")
    cores: tuple[Annotated[tuple[Annotated[Count, Field(ge=0)], ...], NotEmpty], ...] | None = Field(
        None,
        description="on a CPU: cores that stand for each GPU of the inventory, such as [[0], [1]]; managed servers are pinned to "
        "those of the GPU that they take, and stop when parked",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="what the engines run on")
    port: Annotated[Count, Field(ge=1, le=65535)] = Field(8100, description="of the first managed server; the next ones follow")
    clock: Literal["wall", "core"] = Field(
        "wall",
        description="what in-process engines are timed by; core: time goes on while the one thread that works has a core, and "
        "waiting is skipped, so that latencies are those of a machine with nothing else to do",
    )
    start_timeout_s: Annotated[Seconds, Field(gt=0)] = Field(
        600.0, alias="start_timeout", description="how long a managed server may take to start"
    )
    deadline_s: Annotated[Seconds, Field(gt=0)] = Field(
        0.05, alias="deadline", description="how long a batcher may think about a step before vLLM's own plan is taken"
    )
    silence_s: Annotated[Seconds, Field(gt=0)] = Field(
        300.0, alias="silence", description="give a request up when nothing is heard of it for so long"
    )
    api_key_env: str | None = Field(None, description="environment variable that holds the servers' API key")

    def size_of(self, model: str) -> Size:
        """Of a model's random weights; the model's own where nothing is said of it."""
        return self.shape.get(model, "full") if isinstance(self.shape, dict) else self.shape

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.engines == "attached" and not self.urls:
            yield "urls", "names no server to attach to; give one URL per engine"
        if self.engines != "attached" and self.urls:
            yield "urls", f"is for attached servers, and engines is `{self.engines}`; write `engines: attached`, or remove it"
        if self.cores is not None and self.engines != "managed":
            yield "cores", f"is for managed servers, and engines is `{self.engines}`; write `engines: managed`, or remove it"
        if self.clock == "core" and self.engines != "in-process":
            yield "clock", f"`core` times engines in this process, and engines is `{self.engines}`; write `engines: in-process`"
        for url in self.urls:
            if not re.match(r"https?://[^/@\s]+(/\S*)?$", url):
                yield "urls", f"`{url}` is not the URL of a server; write it like http://host:8000 (keys go into `api_key_env`)"
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            yield "api_key_env", "is the name of an environment variable, such as OPENAI_API_KEY, never the key itself"
