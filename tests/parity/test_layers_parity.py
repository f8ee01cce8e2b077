"""What one and two layers of a model tell of the whole of it, on real vLLM. Neighbours disturb it little."""

from __future__ import annotations

from pathlib import Path

from replay.measuring import measure_fingerprint
from traces.scenario import load_scenario

SCENARIO = Path(__file__).parents[2] / "traces" / "gallery" / "cpu-calibration.yaml"
ATTEMPTS = 2
"""A miss is measured once more: noise of the machine seldom repeats itself, an error does."""


def test_one_and_two_layers_tell_how_long_the_whole_model_s_steps_take() -> None:
    for _ in range(ATTEMPTS):
        found = measure_fingerprint(load_scenario(SCENARIO), [1, 2], 60.0, checked=True)
        if found.sound:
            break
    assert found.check is not None
    assert found.check.shapes > 20
    assert found.sound, found.check
    assert found.fingerprint.provenance == "measured"
    assert found.fingerprint.residual > 0
    assert found.fingerprint.calibrated["decode_seqs"] == (1.0, 8.0)
    assert set(found.fingerprint.errors) == {"prefill", "decode", "mixed"}
