"""Constants that were calibrated on measured hardware.

Fitted to MaverIQ's measurements (arXiv 2501.13111; repository UT-SysML/MaverIQ) of six models by
``python -m benchmarks.extrapolation FOLDER --constants``: TensorRT-LLM 0.9 with its Python session, batch 1.
"""

from __future__ import annotations

from types import MappingProxyType

from policies.extrapolation.hardware import Hardware
from policies.extrapolation.memory import MemoryUse

RTX_A6000 = Hardware(
    read=MappingProxyType({"fp16": 1.465e-12, "int8": 1.408e-12, "int4": 1.419e-12, "int4-g128": 1.449e-12}),
    compute=MappingProxyType({"fp16": 1.001e-14, "int8": 9.718e-15, "int4": 9.412e-15, "int4-g128": 1.009e-14}),
    layer=4.673e-5,
    step=2.029e-4,
    prompt=3.977e-3,
    host=2.930e-5,
    all_reduce=4.594e-6,
    peer=MappingProxyType({2: 4.897e-11, 4: 3.871e-10, 8: 1.492e-9}),
    ring=MappingProxyType({4: 5.223e-11, 8: 6.717e-11}),
    gather=1.339e-8,
)
"""Eight RTX A6000 in one server: 683 of 768 GB/s of memory, 100 TFLOP/s; links of 20 GB/s by two, 2.6 by four, 0.67 by eight."""

RTX_A6000_MEMORY = MemoryUse(weights=1.0070, kv=1.1907, context=5.245e8, rank=4.069e8, stage=5.769e8)
"""The same, in bytes: half a gigabyte per GPU, and 0.4 GB more for every rank that it sums with."""
