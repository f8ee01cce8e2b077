"""Four services like those of the SCOOT paper, defined in the open: its traces are not public.

What is known of them is what they are for (arXiv 2408.04323 §6: SQL generation from text, a chatbot, classification,
recommendation, on LLaMA2-7B and 13B). Every number here is ours: an assumption about such a service, written down before anything
was tuned. ``python -m figures.scoot.services`` writes the traces again; a test holds them to this text.

A prompt is a preamble that all requests of a service share, one of several documents that some of them share (Zipf: the k-th is
asked for in proportion to 1/k), and a part of its own. Content is told in blocks of 128 tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.streams import generator
from traces.workload import Workload

FOLDER = Path(__file__).parent
BLOCK_TOKENS = 128
_LONGEST = 3900


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Token counts. ``sigma``: of the logarithm."""

    mean: float
    sigma: float
    least: int
    most: int

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        drawn = np.exp(np.log(self.mean) - self.sigma**2 / 2 + self.sigma * rng.standard_normal(count))
        return np.clip(np.rint(drawn), self.least, self.most).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Service:
    """``preamble``: tokens that all prompts share. ``documents``: how many there are, each of ``document`` tokens.

    ``requests``: in the trace. ``steady_per_s``: for latencies, about 0.6 times what the default configuration serves.
    """

    name: str
    about: str
    requests: int
    steady_per_s: int
    preamble: int
    documents: int
    document: Lognormal
    own: Lognormal
    output: Lognormal

    def workload(self, seed: int = 0) -> Workload:
        """Its requests, one second apart: the scenario says when they come."""
        rng = generator(seed, "scoot service", self.name)
        popularity = 1 / np.arange(1, self.documents + 1)
        sizes = self.document.sample(rng, self.documents)
        which = rng.choice(self.documents, size=self.requests, p=popularity / popularity.sum())
        own = self.own.sample(rng, self.requests)
        shared = self.preamble + sizes[which]
        prompt = np.minimum(shared + own, _LONGEST)
        return dataclasses.replace(
            Workload.make(
                np.arange(self.requests, dtype=np.float64),
                prompt,
                self.output.sample(rng, self.requests),
                source={"name": self.name},
            ),
            **self._blocks(prompt, np.minimum(shared, prompt), which),
            block_tokens=BLOCK_TOKENS,
        )

    def _blocks(self, prompt: np.ndarray, shared: np.ndarray, which: np.ndarray) -> dict[str, np.ndarray]:
        """Ids: 0 and on for the preamble, then for the documents' blocks, then one of its own for every other block."""
        preamble = self.preamble // BLOCK_TOKENS
        ids: list[int] = []
        offsets = [0]
        fresh = 1_000_000
        for tokens, common, document in zip(prompt.tolist(), shared.tolist(), which.tolist(), strict=True):
            started, whole = -(-tokens // BLOCK_TOKENS), common // BLOCK_TOKENS
            same = [block if block < preamble else 1000 * (document + 1) + block for block in range(whole)]
            own = range(fresh, fresh + started - whole)
            fresh += len(own)
            ids += [*same, *own]
            offsets.append(len(ids))
        return {"block_offsets": np.array(offsets, dtype=np.int64), "block_ids": np.array(ids, dtype=np.int64)}


SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service(
            "sql",
            "questions to 40 databases: instructions, the schema, a short question; a query comes back",
            2400,
            25,
            256,
            40,
            Lognormal(900, 0.5, 200, 2400),
            Lognormal(60, 0.5, 10, 300),
            Lognormal(60, 0.6, 8, 256),
        ),
        Service(
            "bot",
            "a chatbot: a system prompt, the conversation so far, an answer of some length",
            900,
            10,
            128,
            200,
            Lognormal(300, 1.0, 1, 1500),
            Lognormal(600, 0.9, 10, 2400),
            Lognormal(220, 0.7, 8, 700),
        ),
        Service(
            "cls",
            "six classifiers: instructions with examples, a text, a label",
            3000,
            80,
            128,
            6,
            Lognormal(640, 0.3, 256, 1200),
            Lognormal(350, 0.7, 20, 1500),
            Lognormal(4, 0.4, 1, 12),
        ),
        Service(
            "rec",
            "recommendations: instructions, a user's history, a list of items",
            1200,
            16,
            384,
            1,
            Lognormal(1, 0.0, 1, 1),
            Lognormal(1500, 0.5, 200, 3400),
            Lognormal(40, 0.5, 8, 128),
        ),
    )
}
