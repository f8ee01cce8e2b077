"""BurstGPT: the columns of its three releases, and its failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from traces.errors import InputError
from traces.readers import read

RELEASE_1 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
1106,ChatGPT,0,0,0,Conversation log
1129,GPT-4,1305,0,1305,API log
1278,ChatGPT,17,382,399,Conversation log
"""
RELEASE_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
5.5,abc,1.2,ChatGPT,472,18,490,Conversation log
45,,0.7,ChatGPT,1087,230,1317,API log
46,xyz,0.7,ChatGPT,9,0,9,Conversation log
47,xyz,0.7,ChatGPT,10,23,33,Conversation log
48,abc,0.7,ChatGPT,11,24,35,Conversation log
"""


def test_failures_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "BurstGPT_1.csv"
    path.write_text(RELEASE_1)
    workload = read(path)
    assert workload.arrival_s.tolist() == [0, 40, 1273]
    assert workload.output_tokens.tolist() == [18, 230, 382]
    assert workload.session is None
    assert "2 of 5 requests have 0 tokens (failures) and are left out" in workload.source["notes"]


def test_failures_can_be_refused_instead(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text(RELEASE_1)
    with pytest.raises(InputError, match=r"line 4: Request tokens is 0.*drop_failed: true"):
        read(path, drop_failed=False)


def test_release_3_has_sessions_and_requests_without_one(tmp_path: Path) -> None:
    path = tmp_path / "BurstGPT_3.csv"
    path.write_text(RELEASE_3)
    workload = read(path)
    assert workload.arrival_s.tolist() == [0, 39.5, 41.5, 42.5]
    assert workload.session is not None
    first, none, other, again = workload.session.tolist()
    assert first == again != other
    assert none == -1
    assert min(first, other) >= 0


def test_the_published_head_is_read(shared_data: Path) -> None:
    workload = read(shared_data / "traces" / "burstgpt" / "BurstGPT_head42_fixture.csv")
    assert len(workload) == 38
    assert workload.arrival_s[[0, -1]].tolist() == [0, 4569]
    assert workload.source["notes"] == ["4 of 42 requests have 0 tokens (failures) and are left out"]
