"""What a vLLM server tells of itself at ``/metrics``, in Prometheus' text format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of the exposition."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server's engines taken together (one, unless it runs data parallel). ``None`` = it does not tell.

    ``kv_share``: of its KV memory in use. ``kv_tokens``: size of its KV memory. Counters run since the server's start: requests
    that arrived, of those the ones that are done.
    """

    running: int
    waiting: int
    kv_share: float | None
    kv_tokens: int | None
    block_tokens: int | None
    preemptions: int
    prompt_tokens: int
    generated_tokens: int
    finished: int


def samples(text: str) -> Iterator[Sample]:
    """The samples of an exposition; lines that are none are passed over."""
    for line in text.splitlines():
        if not line.startswith("#") and (found := _SAMPLE.match(line)) is not None:
            try:
                value = float(found[3])
            except ValueError:
                continue
            yield Sample(found[1], dict(_LABEL.findall(found[2] or "")), value)


def server_state(text: str) -> ServerState | None:
    """The state in an exposition; ``None`` when it is not that of a vLLM server."""
    sums: dict[str, float] = {}
    shares: list[float] = []
    kv_tokens, block_tokens = None, None
    for name, labels, value in samples(text):
        if not name.startswith("vllm:"):
            continue
        sums[name] = sums.get(name, 0.0) + value
        if name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"):
            shares.append(value)
        elif name == "vllm:cache_config_info":
            blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
            if blocks.isdecimal() and size.isdecimal():
                block_tokens = int(size)
                kv_tokens = (kv_tokens or 0) + int(blocks) * block_tokens
    if "vllm:num_requests_running" not in sums:
        return None

    def count(name: str) -> int:
        return round(sums.get(name, 0.0))

    return ServerState(
        running=count("vllm:num_requests_running"),
        waiting=count("vllm:num_requests_waiting"),
        kv_share=sum(shares) / len(shares) if shares else None,
        kv_tokens=kv_tokens,
        block_tokens=block_tokens,
        preemptions=count("vllm:num_preemptions_total"),
        prompt_tokens=count("vllm:prompt_tokens_total"),
        generated_tokens=count("vllm:generation_tokens_total"),
        finished=count("vllm:request_success_total"),
    )
