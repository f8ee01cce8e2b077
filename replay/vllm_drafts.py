"""Draft tokens inside an engine's process: accepted by the scenario's law, and with what probability the drafter proposed them.

vLLM tells its scheduler neither, so that functions of its model runner are wrapped, once per process. That takes an engine whose
scheduler and model share a process (one GPU, or a CPU), and the model runner of ``vllm/v1/worker/gpu_model_runner.py``, from which
the CPU's inherits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from policies.drafting.acceptance import Acceptance
from replay.vllm_views import live

_PLACEHOLDER = -1
"""Of ``vllm/v1/sample/rejection_sampler.py``: no token."""
_lawful: dict[str, tuple[Any, Acceptance]] = {}
"""vLLM's requests that a law holds for, by vLLM's id, which is unique in a process."""
_proposed: dict[str, list[float]] = {}
"""The probabilities that the drafter gave to a request's newest draft tokens, by vLLM's id."""
_batch: list[str] = []
"""Ids of the requests in the step that is being sampled, in the model runner's order."""
_wrapped: set[str] = set()


def follow_law(request: Any, acceptance: Acceptance) -> None:
    """From now on the law decides which draft tokens of a vLLM request are accepted, in place of the model."""
    _once("law", _wrap_rejection)
    _lawful[request.request_id] = request, acceptance


def note_probabilities() -> None:
    """From now on drafters' probabilities are kept, for ``probabilities``."""
    _once("probabilities", _wrap_proposals)


def probabilities(id: str) -> Sequence[float]:
    """Those of the newest draft tokens of a request, by vLLM's id; empty = not known, as with n-grams."""
    return _proposed.get(id, ())


def forget(id: str) -> None:
    """A request is gone."""
    _lawful.pop(id, None)
    _proposed.pop(id, None)


def _once(name: str, wrap: Callable[[], None]) -> None:
    if name not in _wrapped:
        _wrapped.add(name)
        wrap()


def _wrap_rejection() -> None:
    from vllm.v1.sample import rejection_sampler
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    sample, rejects = GPUModelRunner._sample, rejection_sampler.rejection_sample

    def sample_known(self: Any, *args: Any, **kwargs: Any) -> Any:
        _batch[:] = self.input_batch.req_ids
        return sample(self, *args, **kwargs)

    def rejection_sample(
        draft_token_ids: torch.Tensor,
        num_draft_tokens: list[int],
        max_spec_len: int,
        cu_num_draft_tokens: torch.Tensor,
        draft_probs: torch.Tensor | None,
        target_logits: torch.Tensor,
        bonus_token_ids: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        if not all(id in _lawful for id, drafts in zip(_batch, num_draft_tokens, strict=True) if drafts):
            given = draft_token_ids, num_draft_tokens, max_spec_len, cu_num_draft_tokens, draft_probs, target_logits
            plain: torch.Tensor = rejects(*given, bonus_token_ids, *args, **kwargs)
            return plain
        shape = len(num_draft_tokens), max_spec_len + 1
        out = torch.full(shape, _PLACEHOLDER, dtype=torch.int32, device=target_logits.device)
        best = target_logits.argmax(-1).to(torch.int32)
        first = 0
        for row, (id, drafts) in enumerate(zip(_batch, num_draft_tokens, strict=True)):
            accepted = _accepted(id, drafts) if drafts else 0
            out[row, :accepted] = draft_token_ids[first : first + accepted]
            out[row, accepted] = best[first + accepted] if accepted < drafts else bonus_token_ids[row, 0]
            first += drafts
        return out

    GPUModelRunner._sample = sample_known
    rejection_sampler.rejection_sample = rejection_sample


def _accepted(id: str, drafts: int) -> int:
    request, acceptance = _lawful[id]
    view = live(request)
    return acceptance.accepted(view.id, view.generated_tokens, drafts)


def _wrap_proposals() -> None:
    from vllm.v1.spec_decode.llm_base_proposer import SpecDecodeBaseProposer
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    propose, proposes = SpecDecodeBaseProposer.propose, GPUModelRunner.propose_draft_token_ids

    def greedy(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
        logits = self.model.compute_logits(hidden_states).float()
        tokens = logits.argmax(dim=-1)
        self._twinserve_steps.append((logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(-1)).exp())
        return tokens

    def propose_noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._twinserve_steps = []
        return propose(self, *args, **kwargs)

    def propose_draft_token_ids(self: Any, *args: Any, **kwargs: Any) -> Any:
        drafts = proposes(self, *args, **kwargs)
        if steps := getattr(self.drafter, "_twinserve_steps", None):
            chains = torch.stack([step.reshape(-1) for step in steps], dim=1).tolist()
            _proposed.update(zip(self.input_batch.req_ids, chains, strict=False))
        return drafts

    GPUModelRunner.propose_draft_token_ids = propose_draft_token_ids
    SpecDecodeBaseProposer._greedy_sample = greedy
    SpecDecodeBaseProposer.propose = propose_noted
