"""KV on its way from prefill to decode engines, over the engines' network interfaces."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine import Engine
from sim.kernel import FLEET, Kernel
from sim.request import Request


class Links:
    """One interface per engine, for both directions at once; what it sends, and what it receives, goes one after the other.

    A transfer passes the sender's way out, and at the same time, as soon as that is free, the receiver's way in; each takes its
    bytes over the interface's bandwidth. It is complete ``latency_s`` after the later of the two. The network buffers: a sender
    does not wait for a busy receiver (which would waste a third of the bandwidth, as in switches with one queue per input).
    """

    def __init__(self, kernel: Kernel, latency_s: float) -> None:
        self._kernel = kernel
        self._latency_s = latency_s
        self._out: dict[int, float] = {}
        """When an engine's way out is free, by index; ``_in``: its way in."""
        self._in: dict[int, float] = {}
        self._under_way: dict[Request, int] = {}
        self.transfers = 0
        self.sent_bytes = 0
        self.waited_s = 0.0
        """For a free interface, all transfers together; ``took_s``: from being asked for to being complete."""
        self.took_s = 0.0

    def send(self, request: Request, source: Engine, target: Engine, tokens: int, done: Callable[[Request], None]) -> None:
        """Send ``tokens`` of a request's KV; ``done`` is called when they have arrived, unless the transfer is cancelled."""
        now = self._kernel.now
        size = tokens * source.site.kv_token_bytes
        sending, receiving = size / source.site.link_bytes_s, size / target.site.link_bytes_s
        begin = max(now, self._out.get(source.index, 0.0))
        self._out[source.index] = begin + sending
        self._in[target.index] = max(begin, self._in.get(target.index, 0.0)) + receiving
        end = max(self._out[source.index], self._in[target.index])
        self.transfers += 1
        self.sent_bytes += size
        self.waited_s += end - now - max(sending, receiving)
        self.took_s += end + self._latency_s - now
        ticket = self._under_way[request] = self.transfers

        def arrive(_: object) -> None:
            if self._under_way.get(request) == ticket:
                del self._under_way[request]
                done(request)

        self._kernel.call_at(end + self._latency_s, FLEET, arrive)

    def cancel(self, request: Request) -> None:
        """Forget a request's transfer, if there is one; the interfaces stay taken for as long as it would have lasted."""
        self._under_way.pop(request, None)
