"""Several figures at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from figures import gallery
from figures.making import How, Made, make
from figures.style import LIGHT

NAMES = ("polyserve-mixing", "iserve-configurations", "iserve-16-bits", "scoot-knobs")


def made(out: Path, jobs: int) -> list[Made]:
    return list(make([gallery.figure(name) for name in NAMES], How(out, LIGHT, quick=True), jobs))


def test_side_by_side_they_come_in_order_and_as_they_do_one_after_another(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", 1), made(tmp_path / "two", 2)
    assert [each.name for each in one] == [each.name for each in two] == list(NAMES)
    for each in (*one, *two):
        assert each.produced is not None, each.faults
        assert each.seconds > 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert len(files) == 6 * len(NAMES)
    assert {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()} == files


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_cannot_be_made_stops_no_other(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "file").write_text("")
    found = made(tmp_path / "file" / "out", jobs)
    assert [each.name for each in found] == list(NAMES)
    assert all(each.produced is None for each in found)
    assert all(each.faults[0].startswith(f"figure {each.name}: ") for each in found)


def test_a_fault_of_ours_is_not_taken_for_the_users(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        def data(self, _: object) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(make([Broken()], How(tmp_path, LIGHT), 1))  # type: ignore[list-item]
