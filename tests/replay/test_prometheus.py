"""A server's state is read from its metrics."""

from __future__ import annotations

from replay.prometheus import samples, server_state

_VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:cache_config_info{block_size="32",num_gpu_blocks="1000",engine="0",note="a \\"quoted\\", word"} 1.0
vllm:num_preemptions_total{engine="0",model_name="m"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.2e+03
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 1.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 6.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 7.0
broken line
"""


def test_engines_of_one_server_are_taken_together() -> None:
    state = server_state(_VLLM)
    assert state is not None
    assert (state.running, state.waiting, state.finished, state.preemptions, state.prompt_tokens) == (7, 2, 7, 1, 1200)
    assert state.kv_share == 0.375
    assert (state.kv_tokens, state.block_tokens) == (32_000, 32)


def test_what_is_not_told_is_unknown() -> None:
    state = server_state('vllm:num_requests_running{engine="0"} 1.0\nvllm:cache_config_info{num_gpu_blocks="None"} 1.0\n')
    assert state is not None
    assert (state.kv_share, state.kv_tokens) == (None, None)


def test_another_program_s_metrics_are_no_state() -> None:
    assert server_state("go_goroutines 12\n") is None


def test_labels_hold_quotes_and_commas() -> None:
    (sample,) = samples('a:b{x="1,2",y="say \\"no\\""} 5\n')
    assert sample == ("a:b", {"x": "1,2", "y": 'say \\"no\\"'}, 5.0)
