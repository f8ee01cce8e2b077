"""Predictions of models that were left out of the calibration, and the variants of it that were tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.extrapolation.measurements import SCORED_OUTPUT, Measured
from policies.extrapolation import RING, TENSORRT_LLM, AllReduceRule, Hardware
from policies.extrapolation.hardware import Columns, from_constants
from traces.extrapolation import Samples, calibrate, calibrate_memory, chosen, design, least_absolute

Floats = NDArray[np.float64]
Models = Mapping[str, Measured]

FAMILIES = (("llama-2-7b", "llama-2-13b", "llama-2-70b"), ("falcon-7b", "falcon-40b"), ("gptj-6b",))


@dataclass(frozen=True)
class Variant:
    """One way to calibrate.

    ``shared_compute``: one compute rate for all precisions. ``without``: constants held at 0. ``own``: the fingerprints of the
    model predicted take part. ``rounds``: 1 is least squares, more goes to least absolute error.
    """

    name: str
    rule: AllReduceRule = TENSORRT_LLM
    by_precision: bool = True
    shared_compute: bool = False
    without: tuple[str, ...] = ()
    own: bool = True
    rounds: int = 15

    def fit(self, samples: Sequence[Samples]) -> Hardware:
        """The constants from these samples."""
        names, matrix = design(samples, rule=self.rule, by_precision=self.by_precision)
        if self.shared_compute:
            names, matrix = _merged(names, matrix, "compute.")
        keep = [i for i, name in enumerate(names) if name not in self.without]
        constants = least_absolute(matrix[:, keep], np.concatenate([s.seconds for s in samples]), self.rounds)
        return from_constants(dict(zip((names[i] for i in keep), constants.tolist(), strict=True)), self.rule)


VARIANTS = (
    Variant("as shipped"),
    Variant("one compute rate for all precisions", shared_compute=True),
    Variant("one compute and one read rate for all precisions", by_precision=False),
    Variant("ring all-reduce at every size (no switch of algorithm)", rule=RING),
    Variant("no host time per layer of the largest stage", without=("host",)),
    Variant("no gathering of logits", without=("gather",)),
    Variant("no latency of an all-reduce", without=("all_reduce",)),
    Variant("least squares of relative errors", rounds=1),
    Variant("without the model's own fingerprints", own=False),
)
SHIPPED = VARIANTS[0]


def latency_prints(model: Measured) -> Samples:
    """The fingerprints whose latency a prediction may use: one stage."""
    return chosen(model.fingerprints, model.fingerprints.runs.pp == 1)


def memory_prints(model: Measured) -> Samples:
    """The fingerprints whose memory a prediction may use: one rank or one stage."""
    return chosen(model.fingerprints, (model.fingerprints.runs.tp == 1) | (model.fingerprints.runs.pp == 1))


def left_out(models: Models, variant: Variant = SHIPPED, groups: Sequence[Sequence[str]] | None = None) -> dict[str, Floats]:
    """Seconds of every whole-model run, each model predicted from a calibration that saw none of its group's whole-model runs."""
    predicted = {}
    for group in groups or [(name,) for name in models]:
        others = [s for name, m in models.items() if name not in group for s in (latency_prints(m), m.whole)]
        for name in group:
            own = [latency_prints(models[name])] if variant.own else []
            predicted[name] = seconds(variant.fit([*others, *own]), models[name].whole)
    return predicted


def nested(models: Models, variants: Sequence[Variant] = VARIANTS) -> tuple[dict[str, Floats], dict[str, str]]:
    """Seconds by model, and the variant's name that an inner leave-one-model-out over the other models chose for it."""
    predicted, chosen = {}, {}
    for name in models:
        others = {other: m for other, m in models.items() if other != name}

        def inner_error(variant: Variant, others: Models = others) -> float:
            inner = left_out(others, variant)
            return float(np.concatenate([scored_error(others[m].whole, inner[m]) for m in others]).mean())

        best = min(variants, key=inner_error)
        chosen[name] = best.name
        whole = [s for m in others.values() for s in (latency_prints(m), m.whole)]
        own = [latency_prints(models[name])] if best.own else []
        predicted[name] = seconds(best.fit([*whole, *own]), models[name].whole)
    return predicted, chosen


def own_prints_only(models: Models) -> dict[str, Floats]:
    """Seconds by model from nothing but its own fingerprints; NaN at TP 4 and 8, over which they say nothing."""
    return {name: seconds(_own(m), m.whole) for name, m in models.items()}


def own_prints_and_links(models: Models) -> dict[str, Floats]:
    """Seconds by model from its own fingerprints, and the links between 4 and 8 GPUs as calibrated on the other models."""
    predicted = {}
    for name, model in models.items():
        others = [s for other, m in models.items() if other != name for s in (latency_prints(m), m.whole)]
        predicted[name] = seconds(_own(model).with_links_of(calibrate(others)), model.whole)
    return predicted


def one_reference(models: Models, reference: str) -> dict[str, Floats]:
    """Seconds of the other models from one wholly measured model and their own fingerprints; NaN where a link was never seen."""
    known = [latency_prints(models[reference]), models[reference].whole]
    return {
        name: seconds(calibrate([*known, latency_prints(m)], by_precision=False), m.whole)
        for name, m in models.items()
        if name != reference
    }


def memory_left_out(models: Models) -> dict[str, Floats]:
    """Bytes of every whole-model run, calibrated on the other models and the model's own fingerprints."""
    predicted = {}
    for name, model in models.items():
        others = [s for other, m in models.items() if other != name for s in (memory_prints(m), m.whole)]
        use = calibrate_memory([*others, memory_prints(model)])
        predicted[name] = use.total_bytes(model.architecture, model.whole.runs)
    return predicted


def seconds(hardware: Hardware, samples: Samples) -> Floats:
    """Predicted seconds of the samples, NaN where the hardware's constants do not reach."""
    return hardware.latency(samples.architecture, samples.runs).total_s


def scored_error(whole: Samples, predicted: Floats) -> Floats:
    """Absolute percentage errors at the scored output length."""
    scored = whole.runs.output == SCORED_OUTPUT
    return np.asarray(np.abs(predicted[scored] / whole.seconds[scored] - 1) * 100)


def _own(model: Measured) -> Hardware:
    return calibrate([latency_prints(model)], by_precision=False)


def _merged(names: Sequence[str], matrix: Floats, prefix: str) -> Columns:
    members = [i for i, name in enumerate(names) if name.startswith(prefix)]
    rest = [i for i in range(len(names)) if i not in members]
    merged = np.column_stack([matrix[:, rest], matrix[:, members].sum(axis=1)])
    return Columns((*(names[i] for i in rest), f"{prefix}fp16"), merged)
