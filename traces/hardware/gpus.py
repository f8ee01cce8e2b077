"""Data sheets of GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GPU:
    """One accelerator.

    ``memory_bytes``: what CUDA lets a process use. ``hbm_bytes_s``, ``bf16_flops``, ``fp8_flops`` and ``int8_flops`` (dense;
    ``None`` = no such tensor cores) and ``nvlink_bytes_s`` (one direction; over PCIe where there is no NVLink): data-sheet peaks.
    ``usd_per_hour``: a default, set your own.
    """

    name: str
    title: str
    memory_bytes: int
    hbm_bytes_s: float
    bf16_flops: float
    fp8_flops: float | None
    nvlink_bytes_s: float
    usd_per_hour: float
    source: str
    int8_flops: float | None = None


_PRICE = "price: rounded on-demand list prices of GPU clouds in 2025, set your own"
_VISIBLE = "memory as PyTorch reports it"
_PCIE = "no NVLink: PCIe x16, one direction"
GPUS: Mapping[str, GPU] = {
    g.name: g
    for g in (
        GPU("b200", "NVIDIA B200 SXM 180 GB", int(178.3 * 2**30), 8.0e12, 2250e12, 4500e12, 900e9, 5.50,
            f"NVIDIA HGX B200 data sheet (2025), dense rates; {_VISIBLE}; {_PRICE}", 4500e12),
        GPU("h200", "NVIDIA H200 SXM 141 GB", int(139.8 * 2**30), 4.8e12, 989e12, 1979e12, 450e9, 3.50,
            f"NVIDIA H200 data sheet (2024), dense rates; {_VISIBLE}; {_PRICE}", 1979e12),
        GPU("h100", "NVIDIA H100 SXM 80 GB", int(79.1 * 2**30), 3.35e12, 989e12, 1979e12, 450e9, 2.50,
            f"NVIDIA H100 data sheet (2023), dense rates; {_VISIBLE}; {_PRICE}", 1979e12),
        GPU("a100", "NVIDIA A100 SXM 80 GB", int(79.1 * 2**30), 2.039e12, 312e12, None, 300e9, 1.50,
            f"NVIDIA A100 data sheet (2021), dense rates; {_VISIBLE}; {_PRICE}", 624e12),
        GPU("a100-40gb", "NVIDIA A100 SXM 40 GB", int(39.4 * 2**30), 1.555e12, 312e12, None, 300e9, 1.20,
            f"NVIDIA A100 data sheet (2021), dense rates; {_VISIBLE}; {_PRICE}", 624e12),
        GPU("l40s", "NVIDIA L40S 48 GB", int(44.4 * 2**30), 0.864e12, 362e12, 733e12, 32e9, 0.90,
            f"NVIDIA L40S data sheet (2023), dense rates; {_PCIE}; {_VISIBLE}; {_PRICE}", 733e12),
        GPU("a6000", "NVIDIA RTX A6000 48 GB", int(47.4 * 2**30), 0.768e12, 154.8e12, None, 32e9, 0.50,
            f"NVIDIA RTX A6000 data sheet (2020), dense rates; {_PCIE}; {_VISIBLE}; {_PRICE}", 309.7e12),
        GPU("rtx-pro-6000", "NVIDIA RTX PRO 6000 Blackwell Server 96 GB", int(94.9 * 2**30), 1.597e12, 503.8e12, 1007e12, 64e9,
            1.80, f"NVIDIA RTX PRO 6000 Blackwell Server Edition data sheet (2025), dense rates; {_PCIE}; {_VISIBLE}; {_PRICE}",
            1007e12),
    )
}  # fmt: skip
