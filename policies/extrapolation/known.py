"""Constants that were calibrated on measured hardware.

Fitted to MaverIQ's measurements (arXiv 2501.13111; repository UT-SysML/MaverIQ) of six models by
``python -m benchmarks.extrapolation FOLDER --constants``: TensorRT-LLM 0.9 with its Python session, batch 1.
"""

from __future__ import annotations

from types import MappingProxyType

from policies.extrapolation.hardware import Hardware
from policies.extrapolation.interval import Extrapolation, Residuals
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

RTX_A6000_EXTRAPOLATION = Extrapolation(
    RTX_A6000,
    RTX_A6000_MEMORY,
    latency_residuals=Residuals(
        (-0.1039, -0.07745, -0.04544, -0.02483, -0.01246, 0.001551, 0.01451, 0.03472, 0.0527, 0.08631, 0.1314),
        MappingProxyType(
            {
                1: (-0.02985, -0.02549, -0.02117, -0.01708, -0.009367, 0.001674, 0.0117, 0.02162, 0.03529, 0.04265, 0.05075),
                2: (-0.04859, -0.03996, -0.03276, -0.02616, -0.01368, -0.0003315, 0.01517, 0.03497, 0.05498, 0.08388, 0.1204),
                4: (-0.1241, -0.1003, -0.09481, -0.08318, -0.04227, 0.002899, 0.03105, 0.06357, 0.09189, 0.1066, 0.1242),
                8: (-0.2168, -0.2149, -0.1838, -0.1201, -0.06198, 0.01086, 0.07705, 0.172, 0.2025, 0.2127, 0.2425),
            }
        ),
    ),
    memory_residuals=Residuals(
        (-0.1108, -0.08617, -0.06484, -0.03757, -0.008798, -0.0004301, 0.008325, 0.0178, 0.02265, 0.03371, 0.03936),
        MappingProxyType(
            {
                1: (-0.08053, -0.07273, -0.05198, -0.0359, -0.01603, -0.002637, 0.005484, 0.01614, 0.01993, 0.02459, 0.03575),
                2: (-0.007512, -0.005194, -0.003692, -0.00197, 0.001157, 0.006122, 0.01407, 0.02516, 0.03553, 0.03876, 0.04298),
                4: (-0.02108, -0.0182, -0.01424, -0.0107, -0.004641, 0.0008429, 0.007426, 0.01612, 0.02074, 0.03347, 0.03615),
                8: (-0.1323, -0.131, -0.1297, -0.1238, -0.1072, -0.07556, -0.05879, -0.03404, -0.02742, -0.02672, -0.02666),
            }
        ),
    ),
)
"""The constants with prediction intervals, from leaving one of the six models out. ``--constants`` prints these residuals too."""
