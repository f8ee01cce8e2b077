"""ServeGen: requests drawn from clients' windows, reproducibly and at the published rate."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from traces.errors import InputError
from traces.readers import read
from traces.readers.servegen import renewals
from traces.readers.servegen_clients import Window

TRACE_0 = "0,2.0,1.0,Gamma,1.0,0.5\n600,0,0,,0,0\n1200,1.0,1.0,Weibull,0.8,0.9\n"
TRACE_1 = "0,0.5,1.0,Weibull,1.0,2.0\n600,0.5,1.0,Gamma,0.5,4.0\n1200,0,0,,0,0\n"
LENGTHS = {"input_tokens": "{100: 0.5, 300: 0.5}", "output_tokens": "{7: 1.0}", "reason_ratio": "{0.5: 1.0}"}
LATER = {"input_tokens": "{9: 1.0}", "output_tokens": "{}"}


def clients(folder: Path, lengths_1: dict | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chunk-0-trace.csv").write_text(TRACE_0)
    (folder / "chunk-1-trace.csv").write_text(TRACE_1)
    (folder / "chunk-0-dataset.json").write_text(json.dumps({"0": LENGTHS, "1200": LATER}))
    if lengths_1 is not None:
        (folder / "chunk-1-dataset.json").write_text(json.dumps(lengths_1))
    return folder


def packed(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.rglob("chunk-*")):
            data = file.read_bytes()
            member = tarfile.TarInfo(f"data/{file.relative_to(folder.parent)}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_folder_and_archive_give_the_same_requests(tmp_path: Path) -> None:
    folder = clients(tmp_path / "model", {"0": LENGTHS})
    from_folder, from_archive = read(folder), read(packed(folder, tmp_path / "model.tar.gz"))
    assert from_folder.source["format"] == from_archive.source["format"] == "servegen"
    assert np.array_equal(from_folder.arrival_s, from_archive.arrival_s)
    assert np.array_equal(from_folder.prompt_tokens, from_archive.prompt_tokens)


def test_requests_come_from_the_published_distributions(tmp_path: Path) -> None:
    workload = read(clients(tmp_path / "m", {"0": LENGTHS}), duration_s=600)
    assert set(workload.prompt_tokens.tolist()) == {100, 300}
    assert set(workload.output_tokens.tolist()) == {7}
    assert workload.session is not None
    assert set(workload.session.tolist()) == {0, 1}
    assert len(workload) == pytest.approx(600 * 2.5, rel=0.1)  # 1,500 ± 39 at one standard deviation
    assert (np.diff(workload.arrival_s) >= 0).all()


def test_empty_distributions_fall_back_to_the_window_before(tmp_path: Path) -> None:
    workload = read(clients(tmp_path / "m"), start_s=1200, duration_s=600)
    assert set(workload.prompt_tokens.tolist()) == {9}  # from the later window
    assert set(workload.output_tokens.tolist()) == {7}  # still from the first


def test_a_span_holds_the_same_requests_whatever_surrounds_it(tmp_path: Path) -> None:
    folder = clients(tmp_path / "m", {"0": LENGTHS})
    long, short = read(folder, duration_s=1800), read(folder, start_s=300, duration_s=450)
    inside = (long.arrival_s >= 300) & (long.arrival_s < 750)
    assert short.arrival_s == pytest.approx(long.arrival_s[inside] - 300)
    assert np.array_equal(short.prompt_tokens, long.prompt_tokens[inside])


def test_the_seed_decides_and_the_rate_scales(tmp_path: Path) -> None:
    folder = clients(tmp_path / "m", {"0": LENGTHS})
    one, again, other, double = read(folder), read(folder), read(folder, seed=1), read(folder, rate_scale=2.0)
    assert np.array_equal(one.arrival_s, again.arrival_s)
    assert not np.array_equal(one.arrival_s[:10], other.arrival_s[:10])
    assert len(double) == pytest.approx(2 * len(one), rel=0.1)
    assert "rate × 2, seed 0" in double.source["notes"][0]


def test_clients_without_lengths_are_left_out_and_their_share_is_told(tmp_path: Path) -> None:
    workload = read(clients(tmp_path / "m"), duration_s=600)
    assert workload.session is not None
    assert set(workload.session.tolist()) == {0}
    assert (
        "windows of 1 clients have no length distribution and are left out: 20.0% of the published requests"
        in workload.source["notes"]
    )


@pytest.mark.parametrize(("pattern", "shape"), [("Gamma", 0.05), ("Gamma", 3.0), ("Weibull", 0.4), ("Weibull", 2.0)])
def test_a_window_sends_at_its_rate_from_its_first_second_however_bursty(pattern: str, shape: float) -> None:
    window = Window(0.0, 600.0, 0.2, pattern, shape)  # type: ignore[arg-type]
    rng = np.random.default_rng(7)
    runs = [renewals(window, window.rate, rng) for _ in range(3000)]
    counts = np.array([len(run) for run in runs])
    error = counts.std() / np.sqrt(len(counts))
    assert abs(counts.mean() - 120) < 4 * error
    early = np.array([np.count_nonzero(run < 60) for run in runs])
    assert abs(early.mean() - 12) < 4 * early.std() / np.sqrt(len(early))


def test_several_workloads_in_one_archive_need_a_name(tmp_path: Path) -> None:
    clients(tmp_path / "reason" / "r1")
    clients(tmp_path / "language" / "small")
    with pytest.raises(InputError, match="2 workloads; name one with folder: language/small, reason/r1"):
        read(tmp_path)
    assert len(read(tmp_path, folder="reason/r1")) > 0
    with pytest.raises(InputError, match=r"no chunk-N-trace.csv in a folder 'nope'"):
        read(tmp_path, folder="nope")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("chunk-0-trace.csv", "0,1\n", "chunk-0-trace.csv: line 1: '0,1' is not start,rate,cv,pattern,shape,scale"),
        ("chunk-0-trace.csv", "0,1,1,Pareto,1,1\n", "line 1: Pareto arrivals"),
        ("chunk-0-dataset.json", "[", "chunk-0-dataset.json: not a JSON object"),
        (
            "chunk-0-dataset.json",
            '{"0": {"input_tokens": "__import__(1)", "output_tokens": "{1: 1}"}}',
            "not a dict of token counts",
        ),
        ("chunk-0-dataset.json", '{"0": {"input_tokens": "{1: 0}", "output_tokens": "{1: 1}"}}', "not all 0"),
    ],
)
def test_malformed_client_files_are_refused(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = clients(tmp_path / "m")
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        read(folder)


def test_lengths_without_a_trace_are_no_workload(tmp_path: Path) -> None:
    folder = clients(tmp_path / "model")
    for trace in folder.glob("*-trace.csv"):
        trace.unlink()
    with pytest.raises(InputError, match=r"no chunk-N-trace\.csv; a ServeGen workload has one trace"):
        read(folder, "servegen")


def test_a_span_without_traffic_is_refused_with_the_span_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 requests between 1800 and 2400 s; the clients' windows span 0 to 1800 s"):
        read(clients(tmp_path / "m"), start_s=1800, duration_s=600)
    with pytest.raises(InputError, match="positive duration"):
        read(clients(tmp_path / "m"), duration_s=0)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    whole = packed(clients(tmp_path / "m"), tmp_path / "m.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="truncated"):
        read(tmp_path / "cut.tar.gz")


def test_the_published_clients_have_the_known_rate_and_lengths(shared_data: Path) -> None:
    facts = json.loads((shared_data / "facts.json").read_text())["servegen_reason_deepseek-r1"]
    workload = read(shared_data / "traces" / "servegen" / "reason_deepseek-r1.h00-18.tar.gz", duration_s=64800)
    published = np.array(facts["rate_10min_profile_rps"])
    profile = np.histogram(workload.arrival_s, np.arange(len(published) + 1) * 600.0)[0] / 600
    assert workload.mean_rate == pytest.approx(facts["rate_rps"]["mean"], rel=0.02)
    assert np.corrcoef(profile, published)[0, 1] > 0.97
    assert workload.session is not None
    shares = np.sort(np.unique(workload.session, return_counts=True)[1])[::-1] / len(workload)
    assert shares[:3] == pytest.approx(facts["client_rate_share_sorted"][:3], abs=0.01)
    expected = facts["fields"]["input_tokens"]["quantiles"]
    for q in ("25", "50", "75", "90"):
        assert np.quantile(workload.prompt_tokens, float(q) / 100) == pytest.approx(expected[q], rel=0.1)


def test_the_share_left_out_is_that_of_the_known_profile(shared_data: Path) -> None:
    facts = json.loads((shared_data / "facts.json").read_text())["servegen_language_m-large"]
    workload = read(shared_data / "traces" / "servegen" / "language_m-large.day0.tar.gz", start_s=36000, duration_s=600)
    left_out = 1 - workload.mean_rate / facts["rate_10min_profile_rps"][60]
    (note,) = (note for note in workload.source["notes"] if "left out" in note)
    assert float(note.split("%")[0].split()[-1]) / 100 == pytest.approx(left_out, abs=0.02)
