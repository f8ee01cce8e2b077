"""All figures of a folder on one page: what the papers say, what we get, and what a reader should know first."""

import json
from html import unescape

import pytest

from figures import gallery
from figures.pages.reproduced import INDEX, PAGE, note_time, write_reproduction
from traces.hashes import hash_code

ROW = {
    "quantity": "gain",
    "paper": "1.3",
    "ours": 1.25,
    "lo": 1.2,
    "hi": 1.31,
    "seeds": 8,
    "verdict": "agrees",
    "source": "Fig. 1",
    "note": "",
}


def make(folder, name, **changes):
    told = {
        "figure": name,
        "title": f"Title of {name}",
        "source": "A paper",
        "caption": "What is shown.",
        "provenance": {"quick": False, "code": hash_code()},
        "reproduction": [ROW],
        **changes,
    }
    (folder / f"{name}.json").write_text(json.dumps(told))


@pytest.fixture
def names():
    return gallery.names()[:2]


def page(folder):
    return unescape(write_reproduction(folder).read_text("utf-8"))


def test_paper_ours_interval_and_verdict_stand_in_a_row(tmp_path, names):
    make(tmp_path, names[0])
    text = page(tmp_path)
    for told in ("gain", "1.3", "1.25", "1.20–1.31", "agrees", "Fig. 1", f"twinserve figures {names[0]}"):
        assert told in text


def test_figures_made_at_different_times_share_the_page_and_the_missing_ones_are_counted(tmp_path, names):
    for name in names:
        make(tmp_path, name)
    text = page(tmp_path)
    assert all(f"Title of {name}" in text for name in names)
    assert f"{len(gallery.names()) - 2} of {len(gallery.names())} figures are not in this folder" in text
    assert (tmp_path / PAGE).is_file()


def test_what_is_not_for_quoting_is_said_first(tmp_path, names):
    make(tmp_path, names[0], provenance={"quick": True, "code": hash_code()})
    make(tmp_path, names[1], provenance={"quick": False, "code": "older"})
    text = page(tmp_path)
    assert f"made with --quick, and not for quoting: {names[0]}" in text
    assert f"made by other code than is installed now: {names[1]}" in text


def test_how_long_figures_took_is_kept_beside_each_other(tmp_path, names):
    for name, seconds in zip(names, (12.345, 60.0), strict=True):
        make(tmp_path, name)
        note_time(tmp_path, name, seconds)
    assert json.loads((tmp_path / INDEX).read_text()) == {names[0]: 12.35, names[1]: 60.0} or names != sorted(names)
    assert "the longest 60" in page(tmp_path)


def test_names_cannot_become_code(tmp_path, names):
    make(
        tmp_path, names[0], title="<script>alert(1)</script>", reproduction=[{**ROW, "quantity": '"><img src=x onerror=alert(1)>'}]
    )
    text = write_reproduction(tmp_path).read_text("utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text


def test_a_folder_without_figures_has_no_page_and_strange_files_are_passed_over(tmp_path, names):
    (tmp_path / f"{names[0]}.json").write_text("[1, 2")
    (tmp_path / f"{names[1]}.json").write_text("[1, 2]")
    (tmp_path / INDEX).write_text("nothing")
    assert write_reproduction(tmp_path) is None
