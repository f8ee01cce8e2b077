"""The closed form of an engine's steady state is the mean of its simulation."""

import pytest

from policies.iserve.steady import Engine, EngineLimits
from policies.latency import FingerprintLatency
from sim.run import simulate
from traces.fingerprints import load_fingerprint
from traces.hardware import gpu, model
from traces.scenario import load_scenario
from traces.scenario.fleet import default_knobs

SCENARIO = """
model: {model}
fleet: {{gpu: {gpu}, gpus: {tp}, tensor_parallel: {tp}, precision: {precision}}}
workload:
  - {{name: chat, rate: {rate}/s, trace: {{prompt_tokens: {prompt}, output_tokens: {output}}}}}
duration: 900s
seed: 4
"""

ENGINES = [
    ("llama-3.1-70b", "h100", 2, "fp8", 1500, 250),  # prompts weigh as much as decodes
    ("llama-3.1-8b", "h200", 1, "bf16", 512, 512),
    ("llama-3.1-8b", "a100", 1, "bf16", 3000, 100),  # a prompt is more than a step holds
]


@pytest.mark.parametrize("load", [0.2, 0.6])
@pytest.mark.parametrize(("name", "kind", "tp", "precision", "prompt", "output"), ENGINES)
def test_the_mean_of_a_simulated_engine(tmp_path, name, kind, tp, precision, prompt, output, load):
    knobs = default_knobs({}, gpu(kind))
    seqs, tokens = knobs["max_num_seqs"], knobs["max_num_batched_tokens"]
    kv = model(name).kv_tokens_capacity(gpu(kind), tp, precision, utilization=0.92, max_batched_tokens=tokens, max_seqs=seqs)
    latency = FingerprintLatency(load_fingerprint(name, kind, tp, precision))
    engine = Engine(latency, EngineLimits(seqs, tokens, kv), prompt=prompt, output=output)
    rate = load * engine.capacity()
    expected = engine.at(rate)
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO.format(model=name, gpu=kind, tp=tp, precision=precision, rate=rate, prompt=prompt, output=output))
    done = simulate(load_scenario(file)).requests.to_pandas()
    done = done[(done.outcome == "completed") & (done.arrival_s > 30)]
    assert len(done) > 100
    assert done.tpot_s.mean() == pytest.approx(expected.tpot_s[0], rel=0.12)
    assert done.ttft_s.mean() == pytest.approx(expected.ttft_s[0], rel=0.15)
