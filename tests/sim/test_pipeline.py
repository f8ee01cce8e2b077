"""Speculative steps, steps that overlap, and pipeline stages, with times worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from policies.batchers import VLLM
from policies.curve import Curve
from policies.decisions import Drafts, DraftShape, Selection
from policies.drafting.acceptance import Acceptance
from policies.fingerprint import Fingerprint
from policies.latency import FingerprintLatency
from policies.protocols import Speculator
from policies.routers import RoundRobin
from policies.speculators import VLLM as ALL
from policies.speculators import FixedK, Off
from policies.types import DraftView
from sim.drafters import Drafter, RatedDrafter
from sim.engine import IDLE_POLL_S
from sim.fleet import Fleet
from sim.journal import COMPLETED, Journal
from sim.kernel import Kernel
from sim.limits import EngineLimits, Speculative
from sim.load import Load
from sim.noise import StepNoise
from sim.pipeline import PipelinedEngine
from sim.prefixcache import ContentTrie
from sim.speculation import Speculation
from sim.steptime import StepTime
from sim.stepwise import StepwiseScheduler
from tests.sim.cluster import Outcome
from tests.sim.cluster import play as play_plainly
from traces.errors import InputError
from traces.workload import RequestClass, Workload

STEP_S = 0.01
CHAT = (RequestClass(name="chat"),)


def requests(arrival_s: Sequence[float], prompt: Sequence[int], output: Sequence[int]) -> Workload:
    return Workload(
        arrival_s=np.array(arrival_s, float),
        klass=np.zeros(len(arrival_s), np.int16),
        prompt_tokens=np.array(prompt, np.int32),
        output_tokens=np.array(output, np.int32),
        classes=CHAT,
    )


def play(
    workload: Workload,
    *,
    drafts: int = 0,
    rates: Sequence[float] = (1.0,),
    speculator: Speculator | None = None,
    draft_s: float = 0.0,
    per_token_s: float = 0.0,
    seed: int = 0,
    prefix_caching: bool = False,
    until_s: float = float("inf"),
    noise: float = 0.0,
    layers: Sequence[int] = (),
    sampled_s: float = 0.0,
    drafter: Drafter | None = None,
    **limits: object,
) -> Outcome:
    """One engine whose every step takes ``STEP_S`` and ``per_token_s`` for each token, and ``sampled_s`` for each row of logits."""
    spec = Speculative("eagle", drafts) if drafts else None
    knobs = EngineLimits(speculative=spec, **limits)  # type: ignore[arg-type]
    kernel, journal = Kernel(), Journal(len(workload))
    fleet = Fleet(kernel, RoundRobin(), journal)
    plain = Fingerprint.linear(overhead_s=STEP_S, per_token_s=per_token_s)
    terms = dataclasses.replace(plain.terms, sampled=Curve.proportional(sampled_s), stages=knobs.pipeline_parallel)
    fingerprint = dataclasses.replace(plain, terms=terms)
    truth = StepTime(fingerprint, max_batched_tokens=knobs.max_num_batched_tokens, max_seqs=knobs.max_num_seqs)
    engine = PipelinedEngine(
        kernel,
        0,
        model=workload.classes[0].model,
        scheduler=StepwiseScheduler(knobs, trie=ContentTrie(16) if prefix_caching else None),
        steptime=truth,
        latency=FingerprintLatency(fingerprint),
        batcher=VLLM(),
        noise=StepNoise(seed, 0, noise),
        journal=journal,
        listener=fleet,
        layers=layers or [1] * knobs.pipeline_parallel,
        speculation=Speculation(
            "e0",
            speculator or ALL(),
            drafter or RatedDrafter(Acceptance(seed, rates)),
            drafts,
            ahead=knobs.async_scheduling,
            draft_s=draft_s,
        )
        if drafts
        else None,
    )
    fleet.set_engines([engine])
    load = Load(kernel, workload, fleet.dispatch)
    fleet.on_done = load.on_done
    kernel.play(until_s)
    fleet.close()
    return Outcome(journal, fleet, [engine], kernel.events, kernel.now)


def test_a_step_gives_what_was_accepted_and_one_token_more() -> None:
    run = play(requests([0.0], [10], [11]), drafts=4)
    assert run.column("first_token_s")[0] == pytest.approx(STEP_S)
    assert run.column("last_token_s")[0] == pytest.approx(3 * STEP_S)  # 1 + 5 + 5 tokens
    assert (run.column("drafted")[0], run.column("accepted")[0]) == (8, 8)


def test_what_is_never_accepted_costs_its_tokens_only() -> None:
    workload = requests([0.0], [10], [5])
    plain = play(workload, per_token_s=1e-3)
    drafted = play(workload, drafts=3, rates=(0.0,), per_token_s=1e-3)
    assert drafted.column("accepted")[0] == 0
    assert drafted.column("last_token_s")[0] - plain.column("last_token_s")[0] == pytest.approx(4 * 3 * 1e-3)


def test_drafting_takes_its_time_for_every_token_of_the_longest_chain() -> None:
    run = play(requests([0.0, 0.0], [10, 10], [4, 4]), drafts=3, draft_s=2e-3)
    assert run.column("last_token_s").tolist() == pytest.approx([2 * STEP_S + 3 * 2e-3] * 2)


def test_no_speculation_is_the_plain_engine() -> None:
    rng = np.random.default_rng(4)
    workload = requests(np.sort(rng.uniform(0, 2, 40)).tolist(), rng.integers(1, 300, 40), rng.integers(1, 60, 40))
    limits = EngineLimits(max_num_seqs=8, max_num_batched_tokens=256, kv_blocks=60)
    step = {"overhead_s": STEP_S, "per_token_s": 1e-4}
    plain = play_plainly(workload, limits=limits, step=step, noise=0.1)
    for speculator in (None, Off()):
        stepwise = play(
            workload,
            speculator=speculator,
            drafts=2 if speculator is not None else 0,
            noise=0.1,
            per_token_s=1e-4,
            max_num_seqs=8,
            max_num_batched_tokens=256,
            kv_blocks=60,
        )
        if speculator is None:
            for column in ("first_scheduled_s", "first_token_s", "last_token_s"):
                np.testing.assert_allclose(stepwise.column(column), plain.column(column), rtol=1e-12)
            assert stepwise.column("preemptions").tolist() == plain.column("preemptions").tolist()
        assert stepwise.column("drafted").sum() == 0


def test_every_token_has_a_time_and_those_of_one_step_the_same() -> None:
    run = play(requests([0.0, 0.0], [10, 20], [12, 9]), drafts=3, rates=(0.6,), seed=3)
    tokens = run.tokens()
    lengths = np.bincount(tokens.request, weights=tokens.last - tokens.first + 1)
    assert lengths.tolist() == [12, 9]
    facts = tokens.facts(np.zeros(2, np.int64), CHAT, np.zeros(2))
    _, counts = facts.gaps[0]
    assert counts.sum() == 11 + 8
    assert facts.last_token_s.tolist() == pytest.approx(run.column("last_token_s").tolist())


def test_the_speculator_is_shown_beliefs_and_has_the_last_word() -> None:
    seen: list[dict[int, tuple[float, ...]]] = []

    class Half:
        def shape(self, engine: DraftView) -> DraftShape:
            return DraftShape(4, per_request={1: 2})

        def select(self, engine: DraftView, drafts: Drafts) -> Selection:
            seen.append({id: tuple(chain) for id, chain in drafts.chains.items()})
            return Selection({0: 1})

    run = play(requests([0.0, 0.0], [10, 10], [3, 4]), drafts=4, rates=(0.9, 0.8, 0.7, 1.0), speculator=Half())
    assert seen[0] == {0: (0.9, 0.8, 0.7, 1.0), 1: (0.9, 0.8)}
    assert run.column("drafted")[0] < 4
    assert (run.column("outcome") == COMPLETED).all()


def test_more_drafts_than_the_engine_takes_are_cut() -> None:
    long, own = (play(requests([0.0], [10], [20]), drafts=4, speculator=chosen, rates=(0.6,)) for chosen in (FixedK(k=9), ALL()))
    assert long.column("drafted").tolist() == own.column("drafted").tolist()
    assert long.column("last_token_s").tolist() == own.column("last_token_s").tolist()


def test_fewer_than_no_drafts_are_refused() -> None:
    class Negative(FixedK):
        def shape(self, engine: DraftView) -> DraftShape:
            return DraftShape(-1)

    with pytest.raises(InputError, match=r"policy.speculator: on engine e0 drafts -1 tokens for request 0; give a number from 0"):
        play(requests([0.0], [10], [5]), drafts=4, speculator=Negative())


def test_a_request_that_comes_during_a_step_misses_the_step_that_is_planned_already() -> None:
    workload = requests([0.0, STEP_S / 2], [10, 10], [20, 1])
    at_once, ahead = play(workload), play(workload, async_scheduling=True)
    assert at_once.column("first_token_s")[1] == pytest.approx(2 * STEP_S)
    assert ahead.column("first_token_s")[1] == pytest.approx(3 * STEP_S)
    assert ahead.column("last_token_s")[0] == pytest.approx(at_once.column("last_token_s")[0])


@pytest.mark.parametrize(("ignore_eos", "steps"), [(True, 3), (False, 4)])
def test_an_output_that_ends_by_surprise_is_in_one_more_step(ignore_eos: bool, steps: int) -> None:
    run = play(requests([0.0], [10], [3]), async_scheduling=True, ignore_eos=ignore_eos)
    assert run.column("last_token_s")[0] == pytest.approx(3 * STEP_S)
    assert len(run.journal.step_rows()) == steps


def test_batches_follow_each_other_through_the_stages() -> None:
    one = play(requests([0.0], [10], [4]), pipeline_parallel=2)
    # A request alone gains nothing: each step finds nothing to plan beside it, after which vLLM's loop sleeps.
    assert one.column("last_token_s")[0] == pytest.approx(4 * STEP_S + 3 * IDLE_POLL_S)
    workload = requests([0.0, 1e-4], [10, 10], [4, 4])
    two = play(workload, pipeline_parallel=2, max_num_seqs=2)
    assert two.column("last_token_s").max() < play(workload, max_num_seqs=1).column("last_token_s").max() * 0.8


@pytest.mark.parametrize(
    ("layers", "sampled_s", "first_ms", "second_ms"),
    [
        # Two stages of 5 ms. First request: 0–5–10, then, planned at 10, when it is known: 10–15–20, and 20–25–30. The second has
        # the stages when the first has left them: 5–10–15, 15–20–25, 25–30–35.
        ((4, 4), 0.0, [10, 20, 30], [15, 25, 35]),
        # 2 ms of head on the last stage. 0–5–12, 12–17, there waiting for the second until 19, –26, 26–31, waiting until 33, –40.
        # The second: 5–10, waiting until 12, –19, 19–24, waiting until 26, –33, 33–38, waiting until 40, –47.
        ((4, 4), 2e-3, [12, 26, 40], [19, 33, 47]),
        # Stages of 7.5 and 2.5 ms. 0–7.5–10, waiting for the first stage until 15, –22.5–25, waiting until 30, –37.5–40.
        # The second: 7.5–15–17.5, waiting until 22.5, –30–32.5, waiting until 37.5, –45–47.5.
        ((6, 2), 0.0, [10, 25, 40], [17.5, 32.5, 47.5]),
    ],
    ids=["even", "head", "uneven"],
)
def test_two_requests_in_two_stages_by_hand(
    layers: tuple[int, ...], sampled_s: float, first_ms: list[float], second_ms: list[float]
) -> None:
    # Ten tokens a step, so that the two prompts are two batches; from then on each decodes in its own.
    run = play(
        requests([0.0, 0.0], [10, 10], [3, 3]),
        pipeline_parallel=2,
        max_num_seqs=2,
        max_num_batched_tokens=10,
        layers=layers,
        sampled_s=sampled_s,
    )
    rows = run.journal.step_rows()
    assert (1e3 * rows["end_s"][::2]).tolist() == pytest.approx(first_ms)
    assert (1e3 * rows["end_s"][1::2]).tolist() == pytest.approx(second_ms)
    assert (1e3 * run.column("first_token_s")).tolist() == pytest.approx([first_ms[0], second_ms[0]])
    assert (1e3 * run.column("last_token_s")).tolist() == pytest.approx([first_ms[-1], second_ms[-1]])


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_lone_request_cannot_be_ahead_of_its_own_tokens(stages: int) -> None:
    run = play(requests([0.0], [10], [5]), pipeline_parallel=stages, async_scheduling=True)
    assert run.column("last_token_s")[0] == pytest.approx(5 * STEP_S)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("layers", [(4, 4), (3, 3, 2), (2, 2, 2, 2)])
def test_a_full_pipeline_ends_a_batch_whenever_its_fullest_stage_is_done(layers: tuple[int, ...], asynchronous: bool) -> None:
    stages = len(layers)
    run = play(
        requests([0.0] * stages, [10] * stages, [200] * stages),
        pipeline_parallel=stages,
        max_num_seqs=stages,
        max_num_batched_tokens=10,
        layers=layers,
        async_scheduling=asynchronous,
    )
    ends = run.journal.step_rows()["end_s"]
    assert np.diff(ends[stages:-stages]).mean() == pytest.approx(STEP_S * max(layers) / sum(layers), rel=1e-3)


@pytest.mark.parametrize("mode", [{"async_scheduling": True}, {"pipeline_parallel": 3}, {"drafts": 3, "rates": (0.7,)}])
def test_nothing_is_left_behind(mode: dict[str, object]) -> None:
    rng = np.random.default_rng(5)
    workload = requests(np.sort(rng.uniform(0, 1, 60)).tolist(), rng.integers(1, 100, 60), rng.integers(1, 40, 60))
    knobs = {"max_num_seqs": 8, "max_num_batched_tokens": 128, "kv_blocks": 30}
    run = play(workload, prefix_caching=True, **knobs, **mode)  # type: ignore[arg-type]
    scheduler = run.engines[0].scheduler
    assert (run.column("outcome") == COMPLETED).all()
    assert scheduler.kv.used == 0
    assert scheduler.pending_prefill_tokens == 0
    assert run.column("preemptions").sum() > 0
    rows = run.journal.step_rows()
    assert (np.diff(rows["end_s"]) >= 0).all()
    assert rows["step"].tolist() == list(range(len(rows)))


def test_what_is_under_way_at_the_end_is_dropped() -> None:
    run = play(requests([0.0], [10], [1000]), drafts=3, until_s=10.5 * STEP_S)
    assert run.column("generated")[0] == 1 + 9 * 4
    tokens = run.tokens()
    assert (tokens.last - tokens.first + 1).sum() == 1 + 9 * 4
