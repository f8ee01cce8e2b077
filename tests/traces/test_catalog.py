"""The catalogue, and downloads from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from traces import published
from traces.catalog import TRACES, get, trace
from traces.errors import InputError
from traces.readers import FORMATS

CONTENT = b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + b"2023-11-16 18:15:46.6805900,374,44\n" * 60_000


class Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("OwnHandler", (Handler,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(server: ThreadingHTTPServer, path: str = "/file") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> str:
    """A catalogued trace whose published checksum is that of the server's content."""
    changed = replace(trace("azure-2023-conv"), sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(published.TRACES, "azure-2023-conv", changed)  # type: ignore[arg-type]
    return "azure-2023-conv"


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(published.TRACES, "azure-2023-conv", replace(trace("azure-2023-conv"), sha256=None))  # type: ignore[arg-type]
    return "azure-2023-conv"


def test_a_download_is_verified_and_put_in_place_with_its_licence_beside_it(server, known: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = get(known, tmp_path / "new", progress=lambda done, total: seen.append((done, total)), url=address(server))
    assert got.path.name == "AzureLLMInferenceTrace_conv.csv"
    assert got.path.read_bytes() == CONTENT
    assert (got.verified, got.fetched, got.size_bytes) == (True, True, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    about = json.loads((tmp_path / "new" / "AzureLLMInferenceTrace_conv.csv.source.json").read_text())
    assert (about["licence"], about["sha256"]) == ("CC-BY-4.0", hashlib.sha256(CONTENT).hexdigest())


def test_a_file_that_is_there_and_intact_is_not_fetched_again(server, known: str, tmp_path: Path) -> None:
    get(known, tmp_path, url=address(server))
    again = get(known, tmp_path, url=address(server))
    assert (again.fetched, again.verified) == (False, True)
    assert len(server.RequestHandlerClass.requests) == 1
    again.path.write_bytes(b"damaged")
    assert get(known, tmp_path, url=address(server)).fetched
    assert again.path.read_bytes() == CONTENT


def test_without_a_published_checksum_the_first_one_is_recorded_and_held_against_the_file(
    server, unknown: str, tmp_path: Path
) -> None:
    first = get(unknown, tmp_path, url=address(server, "/unsized"))
    assert (first.verified, first.sha256) == (False, hashlib.sha256(CONTENT).hexdigest())
    assert not get(unknown, tmp_path, url=address(server)).fetched
    first.path.write_bytes(b"damaged")
    assert get(unknown, tmp_path, url=address(server)).fetched


@pytest.mark.parametrize(
    ("path", "message"),
    [("/gone", "127.0.0.1 answers 404 Not Found"), ("/cut", r"ended after 1,000 of 2,\d{3},\d{3} bytes|broke off")],
)
def test_bad_answers_are_one_line_and_leave_nothing(server, known: str, tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        get(known, tmp_path, url=address(server, path))
    assert len(caught.value.faults) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sha256 is .*, published is .*damaged or changed"):
        get("azure-2023-conv", tmp_path, url=address(server))
    assert list(tmp_path.iterdir()) == []


def test_offline_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"offline: 127.0.0.1 cannot be reached .*download http://127.0.0.1:9/f elsewhere"):
        get("azure-2023-conv", tmp_path, url="http://127.0.0.1:9/f")  # the discard port: nothing listens
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(server, known: str, tmp_path: Path) -> None:
    def interrupted(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(known, tmp_path, progress=interrupted, url=address(server))
    assert list(tmp_path.iterdir()) == []


def test_local_addresses_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not an http or https address"):
        get("azure-2023-conv", tmp_path, url=f"file://{tmp_path}/x")
    with pytest.raises(InputError, match="did you mean azure-2023-conv"):
        get("azure-2023-con", tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(server, known: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        get(known, tmp_path / "file" / "sub", url=address(server))


def test_every_entry_is_complete() -> None:
    for name, known in TRACES.items():
        assert known.name == name
        assert known.format in FORMATS
        assert known.url.startswith("https://")
        assert known.licence in ("CC-BY-4.0", "Apache-2.0")
        assert known.citation
        assert known.sha256 is None or len(known.sha256) == 64
    assert len({known.file for known in TRACES.values()}) == len(TRACES)


def test_entries_agree_with_the_published_facts(shared_data: Path) -> None:
    facts = json.loads((shared_data / "facts.json").read_text())
    counts = {name: facts["mooncake_published"][name]["rows"] for name in ("conversation", "toolagent", "synthetic")}
    assert {name: TRACES[f"mooncake-{name}"].requests for name in counts} == counts
    assert TRACES["azure-2024-conv"].requests == facts["azure_published"]["AzureLLMInferenceTrace_conv_1week"]["rows"]
    assert TRACES["burstgpt-1"].requests == facts["burstgpt_published"]["BurstGPT_1_failures"]["rows"]
