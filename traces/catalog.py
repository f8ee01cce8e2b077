"""The catalogue of public traces and the way to get one: streamed to a temporary file, checked, then put in place whole."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traces.errors import InputError
from traces.published import TRACES, Trace, trace

__all__ = ["TRACES", "Download", "Trace", "get", "trace"]

_CHUNK_BYTES = 1 << 20
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Download:
    """A trace on disk. ``verified``: the published checksum is known and holds; else ``sha256`` is what the first download had.

    ``fetched``: it came over the network just now, rather than being there already.
    """

    trace: Trace
    path: Path
    size_bytes: int
    sha256: str
    verified: bool
    fetched: bool


Progress = Callable[[int, int | None], None]


def get(name: str, dest: Path, *, progress: Progress | None = None, url: str | None = None) -> Download:
    """Bring the trace into the folder ``dest``, under its published file name; nothing is fetched when it is there and intact.

    ``progress``: called with bytes so far and bytes in all, ``None`` when the server does not say. ``url``: a mirror instead of the
    publisher. Beside the file, `FILE.source.json` records url, licence, citation, size and sha256.

    Raises:
        InputError: unknown name, no connection, an answer other than the file, a wrong checksum, or nowhere to write. Then, and
            when interrupted, no file is left behind.
    """
    known = trace(name)
    path = dest / known.file
    record = path.with_name(path.name + ".source.json")
    expected = known.sha256 or _recorded(record)
    if expected and path.is_file() and (size_sha := _measure(path))[1] == expected:
        return Download(known, path, *size_sha, verified=known.sha256 is not None, fetched=False)
    address = url or known.url
    try:
        dest.mkdir(parents=True, exist_ok=True)
        size, sha256 = _fetch(known, address, path, progress)
    except OSError as error:
        raise InputError(f"{dest}: cannot be written ({error.strerror or error}); give another folder") from None
    about = {
        "name": name,
        "url": address,
        "licence": known.licence,
        "citation": known.citation,
        "size_bytes": size,
        "sha256": sha256,
    }
    record.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return Download(known, path, size, sha256, verified=known.sha256 is not None, fetched=True)


def _fetch(known: Trace, address: str, path: Path, progress: Progress | None) -> tuple[int, str]:
    with _opened(known, address) as answer:
        total = int(length) if (length := answer.headers.get("Content-Length", "")).isdigit() else None
        digest, size = hashlib.sha256(), 0
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as out:
                while chunk := _received(known, answer):
                    out.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    if progress:
                        progress(size, total)
            if total is not None and size != total:
                raise InputError(f"{known.name}: the connection ended after {size:,} of {total:,} bytes; try again")
            if known.sha256 and digest.hexdigest() != known.sha256:
                raise InputError(
                    f"{known.name}: sha256 is {digest.hexdigest()}, published is {known.sha256}: damaged or changed at {address}; "
                    "try again, or download it yourself and read it as a file"
                )
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    return size, digest.hexdigest()


def _opened(known: Trace, address: str) -> Any:
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    host = urlsplit(address).hostname
    if urlsplit(address).scheme not in ("http", "https") or not host:
        raise InputError(f"{known.name}: {address!r} is not an http or https address; give one, or read a local file directly")
    try:
        return urlopen(address, timeout=_PATIENCE_S)
    except HTTPError as error:
        error.close()
        raise InputError(f"{known.name}: {host} answers {error.code} {error.reason} for {address}; download it by hand") from None
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"{known.name}: offline: {host} cannot be reached ({reason}); download {address} elsewhere and read it as a file"
        ) from None


def _received(known: Trace, answer: Any) -> bytes:
    from http.client import HTTPException

    try:
        data: bytes = answer.read(_CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise InputError(f"{known.name}: the connection broke off ({error}); try again") from None
    return data


def _recorded(record: Path) -> str | None:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError):
        return None


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
