"""The assembled part of the library: ``python -m traces.assembly.library TABLES_DIR --out traces/fingerprints``.

TABLES_DIR is the ``systems`` folder of NVIDIA AIConfigurator, of which one fingerprint for each deployment of ``COMMON`` is fitted.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.fingerprint import Fingerprint
from traces.assembly.assemble import Fit, assemble
from traces.assembly.deployment import Deployment
from traces.errors import InputError
from traces.fingerprints import file_name
from traces.hardware import MODELS
from traces.operators.tables import SYSTEMS, read_tables

ALL = tuple(SYSTEMS)
HOPPER = ("h100", "h200")
DATA_CENTRE = ("a100", "h100", "h200")
COMMON: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[int, ...]], ...] = (
    # models, GPUs, precisions (+kv-fp8: FP8 keys and values, ep: experts spread), tensor parallelism
    ("llama-3.1-8b llama-3.1-70b", ALL, ("bf16", "fp8"), (1, 2, 4, 8)),
    ("llama-3.1-8b llama-3.1-70b", (*HOPPER, "b200"), ("fp8+kv-fp8",), (1, 2, 4, 8)),
    ("llama-3.1-405b", (*HOPPER, "b200"), ("bf16", "fp8"), (8,)),
    ("llama-2-7b llama-2-13b llama-2-70b", DATA_CENTRE, ("bf16",), (1, 2, 4)),
    ("qwen2.5-7b qwen2.5-14b qwen2.5-32b qwen2.5-72b qwen3-14b", DATA_CENTRE, ("bf16",), (1, 2, 4)),
    ("qwen3-8b", ALL, ("bf16",), (1, 2)),
    ("qwen3-32b", ALL, ("bf16",), (1, 2, 4, 8)),
    ("qwen3-32b", HOPPER, ("fp8_block",), (1, 2, 4)),
    ("llama-3.2-1b llama-3.2-3b qwen2.5-0.5b qwen3-0.6b qwen3-1.7b qwen3-4b", DATA_CENTRE, ("bf16",), (1,)),
    ("mixtral-8x7b", DATA_CENTRE, ("bf16",), (2, 4, 8)),
    ("mixtral-8x22b", HOPPER, ("fp8",), (2, 4, 8)),
    ("gpt-oss-20b", (*HOPPER, "b200", "l40s", "rtx-pro-6000"), ("mxfp4",), (1, 2)),
    ("gpt-oss-120b", (*HOPPER, "b200", "rtx-pro-6000"), ("mxfp4",), (1, 2, 4, 8)),
    ("qwen3-30b-a3b", DATA_CENTRE, ("bf16",), (1, 2, 4)),
    ("qwen3-235b-a22b", (*HOPPER, "b200"), ("fp8_block", "fp8_block ep"), (2, 4, 8)),
    ("minimax-m2", (*HOPPER, "b200"), ("fp8_block", "fp8_block ep"), (2, 4, 8)),
    ("deepseek-v3", (*HOPPER, "b200"), ("fp8_block", "fp8_block ep"), (8,)),
    ("kimi-k2", (*HOPPER, "b200"), ("int4", "int4 ep"), (8,)),
)


def common() -> Iterator[Deployment]:
    """The deployments of ``COMMON`` that their GPUs' memory holds."""
    for models, gpus, precisions, shards in COMMON:
        for model in models.split():
            for gpu in gpus:
                for text in precisions:
                    for tp in shards:
                        if (deployment := _deployment(model, gpu, tp, text)) and deployment.fits():
                            yield deployment


def _deployment(model: str, gpu: str, tensor_parallel: int, text: str) -> Deployment | None:
    weights, spread = text.removesuffix(" ep"), text.endswith(" ep")
    precision, _, kv = weights.partition("+kv-")
    if not MODELS[model].splits(tensor_parallel):
        return None
    return Deployment.named(model, gpu, tensor_parallel, precision, expert_parallel=spread, kv_precision=kv or "bf16")


def fits(tables: Path, gpus: tuple[str, ...] = ALL) -> Iterator[Fit | str]:
    """The fit of each common deployment on these GPUs, or a sentence that says why there is none.

    Raises:
        InputError: the tables of a GPU cannot be read.
    """
    read = {gpu: read_tables(tables, gpu) for gpu in gpus}
    for deployment in common():
        if deployment.gpu.name in read:
            try:
                yield assemble(read[deployment.gpu.name], deployment)
            except InputError as fault:
                yield f"{deployment.name}: {fault}"


def to_json(fingerprint: Fingerprint) -> str:
    """Readable JSON, one line per list, whole numbers without a fraction."""
    text = json.dumps(_whole(fingerprint.to_dict()), indent=1, ensure_ascii=False)
    return re.sub(r"\[[^]]*\]", lambda listing: json.dumps(json.loads(listing[0])), text) + "\n"


def _whole(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_whole(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m traces.assembly.library", description="Fit fingerprints to operator tables.")
    parser.add_argument(
        "tables", type=Path, metavar="TABLES_DIR", help="AIConfigurator's systems folder (holds data/h200_sxm, ...)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the fingerprints' JSON files")
    parser.add_argument("--gpu", action="append", choices=ALL, help="only this GPU; may be repeated")
    options = parser.parse_args(argv)
    try:
        made = list(fits(options.tables, tuple(options.gpu or ALL)))
    except InputError as fault:
        print(fault, file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for fit in made:
        if isinstance(fit, str):
            print(f"none for {fit}")
        else:
            (options.out / file_name(fit.fingerprint.name)).write_text(to_json(fit.fingerprint), encoding="utf-8")
    print(f"{sum(not isinstance(fit, str) for fit in made)} fingerprints written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
