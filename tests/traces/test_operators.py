"""Operator tables and the roofline: what is read, how gaps are filled, and which rows are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traces.errors import InputError
from traces.hardware import GPUS, Experts, gpu
from traces.operators.kinds import Attention
from traces.operators.roofline import Roofline, efficiency, step_error
from traces.operators.tables import Tables, read_tables

EIGHT = Attention(8, 8, 128)


def write(root: Path, kind: str, name: str, rows: pd.DataFrame, version: str = "1.0", system: str = "h200_sxm") -> None:
    folder = root / "data" / system / kind / "vllm" / version
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / f"{name}.parquet")


def gemm(dtype: str = "bfloat16", **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"gemm_dtype": dtype, "m": [1, 4096], "n": 4096, "k": 4096, "latency": [0.01, 0.2]} | columns)


def decode_rows(heads: int = 8, kv_heads: int = 8) -> pd.DataFrame:
    batch, step = (grid.ravel() for grid in np.meshgrid([1, 2, 4, 8], [1, 63, 1023]))
    latency = 0.01 + 1e-6 * batch * (step + 1)
    fixed = {"isl": 1, "num_heads": heads, "num_key_value_heads": kv_heads, "head_dim": 128, "kv_cache_dtype": "bfloat16"}
    return pd.DataFrame({"batch_size": batch, "step": step, "latency": latency, **fixed})


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write(tmp_path, "gemm", "gemm_perf", gemm())
    write(tmp_path, "attention", "generation_attention_perf", decode_rows())
    prompts = decode_rows().rename(columns={"isl": "one", "step": "isl"})
    write(tmp_path, "attention", "context_attention_perf", prompts)
    reduce = pd.DataFrame(
        {"num_gpus": 2, "message_size": [128, 4096], "kernel_source": "vLLM_custom_graph", "latency": [0.004, 0.005]}
    )
    write(tmp_path, "comm", "custom_allreduce_perf", reduce)
    return tmp_path


def test_a_small_set_of_tables_is_read_with_its_version_and_hashes(tables: Path) -> None:
    read = read_tables(tables, "h200")
    assert read.engine == "vllm 1.0"
    assert set(read.hashes) >= {"gemm/gemm_perf.parquet", "comm/custom_allreduce_perf.parquet"}
    assert read.gemm(4096, 4096, "bf16")[1].tolist() == pytest.approx([1e-5, 2e-4])
    assert len(read.decode(EIGHT).seconds) == 12


def test_kv_heads_beyond_the_tables_are_requests_in_disguise(tables: Path) -> None:
    rows = read_tables(tables, "h200").decode(Attention(16, 16, 128))
    alone, pair = rows.batch == 1, rows.context == 64
    assert rows.seconds[alone & pair][0] == pytest.approx(1e-5 + 1e-9 * 2 * 64)
    assert rows.batch.max() == 4


def test_heads_that_the_tables_lack_are_taken_from_the_nearest(tables: Path) -> None:
    read = read_tables(tables, "h200")
    assert len(read.decode(Attention(7, 8, 128)).seconds) == 12
    with pytest.raises(InputError, match="no rows for attention of 8 heads on 2 KV heads"):
        read.decode(Attention(8, 2, 128))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"latency": [0.01, float("nan")]}, "row 1: latency is nan"),
        ({"latency": [0.01, -1.0]}, r"row 1: latency is -1\.0"),
        ({"latency": [0.01e-3, 0.2e-3]}, "row 1: .* times h200's peak; latencies are in ms, are these seconds"),
        ({"m": [1, 65536], "latency": [10.0, 3_200_000.0]}, "row 1: .* of h200's peak; latencies are in ms, are these µs"),
        ({"version": ["1.0", "0.9"]}, r"row 1: is of version 0\.9, the folder of 1\.0"),
    ],
)
def test_an_impossible_row_is_named(tables: Path, change: dict[str, object], line: str) -> None:
    write(tables, "gemm", "gemm_perf", gemm(**change))
    with pytest.raises(InputError, match=line):
        read_tables(tables, "h200").gemm(4096, 4096, "bf16")


@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "seconds"), (1e3, "µs")])
@pytest.mark.parametrize("name", ["generation_attention_perf", "custom_allreduce_perf"])
def test_a_table_in_another_unit_is_told_by_its_shortest_call(tables: Path, name: str, factor: float, unit: str) -> None:
    path = next(tables.rglob(f"{name}.parquet"))
    rows = pd.read_parquet(path)
    rows.assign(latency=rows["latency"] * factor).to_parquet(path)

    def use() -> None:
        read = read_tables(tables, "h200")
        read.all_reduce(2, graph=True)
        read.decode(EIGHT)

    with pytest.raises(InputError, match=rf"{name}\.parquet: row 0: latency .* ms is the shortest.*are these {unit}\?"):
        use()


def test_a_missing_column_table_or_number_of_gpus_is_named(tables: Path) -> None:
    with pytest.raises(InputError, match="an all-reduce over 8 GPUs, which tensor parallelism 8 needs"):
        read_tables(tables, "h200").all_reduce(8, graph=True)
    with pytest.raises(InputError, match=r"no moe_perf\.parquet for h200"):
        read_tables(tables, "h200").experts(4096, Experts(8, 2, 14336), "bf16", 1, 1)
    write(tables, "gemm", "gemm_perf", gemm().drop(columns="k"))
    with pytest.raises(InputError, match="column k is missing"):
        read_tables(tables, "h200").gemm(4096, 4096, "bf16")
    with pytest.raises(InputError, match="give the folder that holds AIConfigurator's data/h100_sxm"):
        read_tables(tables, "h100")
    with pytest.raises(InputError, match="no tables of vLLM on a6000; use one of b200"):
        read_tables(tables, "a6000")


def test_tables_of_two_engine_versions_do_not_make_one_fingerprint(tables: Path) -> None:
    write(tables, "gemm", "gemm_perf", gemm(), version="2.0")
    with pytest.raises(InputError, match=r"generation_attention_perf.parquet is of vLLM 1\.0, gemm_perf.parquet is of vLLM 2\.0"):
        read_tables(tables, "h200")


def test_launch_bound_block_products_take_what_the_gpu_takes(tables: Path) -> None:
    sizes = [(128, 128), (4096, 4096), (16384, 16384)]
    frames = []
    for dtype, latencies in (("fp8", (0.003, 0.01, 0.2)), ("fp8_block", (0.06, 0.062, 0.3))):
        for (n, k), latency in zip(sizes, latencies, strict=True):
            frames.append(pd.DataFrame({"gemm_dtype": dtype, "m": [1, 2], "n": n, "k": k, "latency": latency}))
    write(tables, "gemm", "gemm_perf", pd.concat(frames, ignore_index=True))
    read = read_tables(tables, "h200")
    assert read.gemm(4096, 4096, "fp8_block")[1] == pytest.approx(1.5 * 1e-5)
    assert read.gemm(16384, 16384, "fp8_block")[1] == pytest.approx(3e-4)


@pytest.mark.parametrize("chip", list(GPUS))
def test_no_roofline_beats_the_data_sheet(chip: str) -> None:
    roof = Roofline(gpu(chip), efficiency())
    m, seconds = roof.gemm(8192, 8192, "bf16")
    assert (seconds > 2 * m * 8192 * 8192 / gpu(chip).bf16_flops).all()
    assert (seconds > 8192 * 8192 * 2 / gpu(chip).hbm_bytes_s).all()
    assert (np.diff(seconds) >= 0).all()
    rows = roof.decode(Attention(32, 8, 128))
    assert (rows.seconds > rows.batch * rows.context * 4096 / gpu(chip).hbm_bytes_s).all()


def test_lighter_weights_stream_faster_and_a_window_ends_the_growth() -> None:
    roof = Roofline(gpu("h100"), efficiency())
    times = [roof.gemm(8192, 8192, p)[1][0] for p in ("bf16", "fp8", "int4")]
    assert times == sorted(times, reverse=True)
    windowed = roof.decode(Attention(32, 8, 128, window=128))
    assert np.ptp(windowed.seconds[(windowed.batch == 4) & (windowed.context >= 256)]) == 0


def test_the_roofline_says_how_wrong_it_is_on_gpus_held_out() -> None:
    median, p90, steps = step_error(gpu("h100"))
    assert 0 < median < p90 < 0.5
    assert steps > 100
    assert step_error(gpu("a6000"))[0] > median  # links over PCIe are known less


def test_the_users_own_install_is_read_like_the_copied_folder(shared_data: Path) -> None:
    read = read_tables(shared_data / "perf" / "aiconfigurator", "h200")
    assert isinstance(read, Tables)
    m, seconds = read.gemm(8192, 8192, "bf16")
    peak = (2 * m * 8192 * 8192 / seconds).max()
    assert 0.8 * gpu("h200").bf16_flops < peak < gpu("h200").bf16_flops
