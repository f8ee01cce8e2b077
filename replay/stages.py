"""How long a batch is on its way through a virtual engine: its pipeline's stages, one after another, by the fingerprint.

A batch keeps a stage busy for the stage's share of the layers, and the last one for head, sampling and drafting as well; a full
pipeline ends a batch whenever its slowest stage is done with one. With one stage, a step lasts what the fingerprint says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency, StepShape


class Stages:
    """``layers``: of the model on each stage."""

    def __init__(self, fingerprint: Fingerprint, layers: Sequence[int]) -> None:
        self._latency = FingerprintLatency(fingerprint)
        self._terms = fingerprint.terms
        self._shares = [each / sum(layers) for each in layers]
        self._free_s = [0.0] * len(layers)
        """When each stage is done with what has been sent."""
        self._known_s: dict[str, float] = {}
        """When a request's newest token is known, by id; it may be needed by a batch that was planned before."""

    def send(self, ids: Iterable[str], shape: StepShape, drafting_s: float, now_s: float) -> float:
        """Send a batch of these requests through all stages; when it comes out."""
        spread, rows = self._terms.stages, shape.prefill_seqs + shape.decode_seqs + shape.verify_tokens
        own = shape._replace(  # the fingerprint takes the decodes that it is told of to be spread over as many batches
            decode_seqs=spread * shape.decode_seqs,
            decode_context=spread * shape.decode_context,
            verify_tokens=spread * shape.verify_tokens,
        )
        head_s = self._terms.sampled.at(rows)
        layers_s, free = self._latency.seconds(own) - head_s, self._free_s
        at = max(now_s, *(self._known_s.get(id, 0.0) for id in ids))
        for stage, share in enumerate(self._shares):
            at = max(at, free[stage]) + share * layers_s
            free[stage] = at
        free[-1] = at = at + head_s + drafting_s
        return at

    def sampled(self, ids: Iterable[str], at_s: float) -> None:
        """These requests get a token then."""
        self._known_s.update(dict.fromkeys(ids, at_s))

    def forget(self, id: str) -> None:
        """A request is gone."""
        self._known_s.pop(id, None)

    def clear(self) -> None:
        """The engine has failed: nothing is under way."""
        self._free_s = [0.0] * len(self._free_s)
        self._known_s.clear()
