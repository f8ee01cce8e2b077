"""Prompts first: decodes sit out while a prompt can start, and no longer."""

from __future__ import annotations

from policies.batchers import PrefillFirst
from policies.views import Engine, Request

DECODING = Request(id=1, prompt_tokens=10, prefilled_tokens=12, generated_tokens=3)
PROMPT = Request(id=2, prompt_tokens=100)


def engine(
    step: int = 5, waiting: tuple[Request, ...] = (PROMPT,), running: tuple[Request, ...] = (DECODING,), **more: int
) -> Engine:
    counts = {"running_count": len(running), "waiting_count": len(waiting)}
    return Engine(running=running, waiting=waiting, step=step, **counts, **more)  # type: ignore[arg-type]


def test_decodes_sit_out_while_a_prompt_can_start() -> None:
    assert PrefillFirst().plan(engine()).caps == {1: 0}


def test_decodes_go_on_where_none_waits_or_none_can_start() -> None:
    for view in (engine(waiting=()), engine(max_seqs=1), engine(kv_tokens_used=99_950)):
        assert not PrefillFirst().plan(view).caps


def test_decodes_go_on_where_the_prompt_did_not_start_after_all() -> None:
    policy = PrefillFirst()
    assert policy.plan(engine(step=5)).caps
    assert not policy.plan(engine(step=5)).caps  # the step before held nothing
    assert policy.plan(engine(step=6)).caps


def test_a_prompt_that_is_half_computed_goes_on_before_decodes() -> None:
    half = Request(id=3, prompt_tokens=100, prefilled_tokens=50)
    assert PrefillFirst().plan(engine(waiting=(), running=(DECODING, half))).caps == {1: 0}
