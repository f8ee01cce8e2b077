"""What is written aside is gone at the end; what the killed have left is removed, and what the living write is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from traces.aside import aside, leftovers

WRITER = """
import sys, time
from pathlib import Path
from traces.aside import aside
with aside(Path(sys.argv[1])) as place:
    place.mkdir()
    (place / "half").write_text("x")
    print(place, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a [run].d"


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """The place of a process that is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", WRITER, target], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Path(process.stdout.readline().strip())
        process.kill()


def fail_half_way(target: Path) -> None:
    with aside(target) as place:
        place.write_text("half")
        raise ValueError("no")


def test_nothing_stays_aside_when_writing_fails(target: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        fail_half_way(target)
    assert list(target.parent.iterdir()) == []


def test_what_a_killed_writer_left_is_removed_by_the_next_and_what_a_living_one_writes_is_not(target: Path) -> None:
    with writing(target) as dead:
        pass
    with writing(target) as kept:
        assert leftovers(target) == [dead]
        with aside(target) as place:
            place.mkdir()
            os.replace(place, target)
        assert sorted(target.parent.iterdir()) == sorted([target, kept])


def test_neither_other_targets_nor_other_machines_are_touched(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(target) as dead:
        pass
    assert leftovers(target.with_name("a")) == []
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert leftovers(target) == []
    assert dead.exists()
