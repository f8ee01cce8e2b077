"""Opening trace files: gzip and zstd seen through, hashed on the way, cut into blocks of whole lines."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from traces.errors import InputError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READ_BYTES = 256 << 10
_BLOCK_BYTES = 4 << 20
_LONGEST_LINE = 64 << 20
_MOST_FILES = 50_000
_LARGEST_MEMBER = 512 << 20
_FED_BYTES = {"gzip": _READ_BYTES, "zstd": 4 << 10}
"""Compressed bytes decoded at once. zstd packs 128 KiB into 4 bytes at best, so that what comes out of 4 KiB fits into memory."""
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """Whole lines of a text file. ``first_line``: the file's line number (from 1) of the first of them."""

    first_line: int
    data: bytes

    def lines(self) -> Iterator[tuple[int, str]]:
        """The lines that are not blank, each with its number in the file."""
        for number, line in enumerate(self.data.splitlines(), self.first_line):
            if line.strip():
                yield number, line.decode("utf-8", "replace")

    def locate(self, row: int) -> str:
        """Where in the file the ``row``-th (from 0) record of this block stands."""
        number = next(n for i, (n, _) in enumerate(self.lines()) if i == row)
        return f"line {number}"


class TraceFile:
    """A trace on disk, a file or a folder, read forward once or more; compression is recognised by content, not by name.

    ``span_s``: only requests that arrive in [start, end) after the first are wanted; a reader may leave others out.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path, span_s: tuple[float, float] | None = None) -> None:
        self.path = path
        self.span_s = span_s
        self.where = str(path)
        self.name = path.name or path.resolve().name
        self.is_folder = path.is_dir()
        self._sha256 = ""
        if not path.exists():
            raise InputError(f"{self.where}: no such file; check the path, or `twinserve traces list` for traces that need none")
        if not self.is_folder and not path.is_file():
            raise InputError(f"{self.where}: is a pipe or a device, and a trace is read more than once; save it as a file")
        self._codec = "" if self.is_folder else _codec(self._magic())

    def _magic(self) -> bytes:
        try:
            with self.path.open("rb") as raw:
                return raw.read(4)
        except OSError as error:
            raise InputError(f"{self.where}: cannot be read ({error.strerror}); check its permissions") from None

    @property
    def sha256(self) -> str:
        """Of the bytes on disk, as `sha256sum` prints it; of a folder: of its ServeGen members, in order of name."""
        if not self._sha256:
            for _ in self.members(re.compile(".*")) if self.is_folder else self.chunks():
                pass
        return self._sha256

    def head(self, size: int) -> bytes:
        """The first decompressed bytes."""
        data = b""
        for chunk in self.chunks():
            data += chunk
            if len(data) >= size:
                break
        return data[:size]

    def chunks(self) -> Iterator[bytes]:
        """The decompressed content.

        Raises:
            InputError: the compressed data is damaged or ends early.
        """
        digest = hashlib.sha256()
        with self.path.open("rb") as raw:
            yield from self._decompressed(_hashed(raw, digest))
        self._sha256 = digest.hexdigest()

    def _decompressed(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        if not self._codec:
            yield from raw
            return
        new, failure = _decompressor(self._codec)
        stream, produced = new(), 0
        try:
            for data in raw:
                for start in range(0, len(data), _FED_BYTES[self._codec]):
                    rest, more = data[start : start + _FED_BYTES[self._codec]], False
                    while rest or more:
                        if stream.eof:
                            stream = new()
                        out, rest, more = stream.decoded(rest)
                        produced += len(out)
                        yield out
        except failure as error:
            raise InputError(
                f"{self.where}: damaged {self._codec} data after {produced:,} bytes ({error}); get the file again"
            ) from None
        if not stream.eof:
            raise InputError(
                f"{self.where}: truncated: {self._codec} data ends early, after {produced:,} bytes of content; get the file again"
            )

    def blocks(self) -> Iterator[Block]:
        """The content as blocks of whole lines of about 4 MiB, without a byte-order mark."""
        line, parts, size, start = 1, list[bytes](), 0, True
        for chunk in self.chunks():
            data = chunk.removeprefix(_BOM) if start else chunk
            start = start and not chunk
            parts.append(data)
            size += len(data)
            if size >= _BLOCK_BYTES and b"\n" in data:
                joined = b"".join(parts)
                cut = joined.rfind(b"\n") + 1
                yield Block(line, joined[:cut])
                line += joined.count(b"\n", 0, cut)
                parts, size = [joined[cut:]], len(joined) - cut
            elif size > _LONGEST_LINE:
                raise InputError(
                    f"{self.where}: from line {line} on, a line is longer than {_LONGEST_LINE >> 20} MiB, which no request is; "
                    "a trace has one request per line"
                )
        if rest := b"".join(parts):
            yield Block(line, rest)

    def members(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files inside a folder or tar archive whose name matches."""
        yield from (self._in_folder(wanted) if self.is_folder else self._in_archive(wanted))

    def _in_folder(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        digest = hashlib.sha256()
        for path in self._files():
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and wanted.search(name):
                data = self._member(name, path.stat().st_size, path.read_bytes)
                digest.update(name.encode() + b"\0" + data)
                yield name, data
        self._sha256 = digest.hexdigest()

    def _files(self) -> list[Path]:
        found = list(islice(self.path.rglob("*"), _MOST_FILES + 1))
        if len(found) > _MOST_FILES:
            raise InputError(f"{self.where}: holds more than {_MOST_FILES:,} files; name the folder of one ServeGen workload")
        return sorted(found)

    def _in_archive(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        stream = _Stream(self.chunks())
        try:
            with tarfile.open(fileobj=io.BufferedReader(stream), mode="r|") as archive:
                for member in archive:
                    if member.isfile() and wanted.search(member.name) and (inside := archive.extractfile(member)) is not None:
                        yield member.name, self._member(member.name, member.size, inside.read)
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{self.where}: not a readable tar archive ({error}); get the file again") from None
        while stream.read(_READ_BYTES):  # to the end of the file, so that its digest is whole
            pass

    def _member(self, name: str, size: int, read: Callable[[], bytes]) -> bytes:
        if size > _LARGEST_MEMBER:
            raise InputError(f"{self.where}: {name} has {size:,} bytes, more than any ServeGen client; get the trace again")
        try:
            return read()
        except OSError as error:
            raise InputError(f"{self.where}: {name} cannot be read ({error.strerror or error}); check the file") from None


class _Stream(io.RawIOBase):
    """A file object over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        taken = self._rest[: len(view)]
        view[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def _hashed(raw: io.BufferedReader, digest: Any) -> Iterator[bytes]:
    while data := raw.read(_READ_BYTES):
        digest.update(data)
        yield data


def _codec(magic: bytes) -> str:
    return "gzip" if magic.startswith(_GZIP) else "zstd" if magic == _ZSTD else ""


def _decompressor(codec: str) -> tuple[Callable[[], Any], type[Exception]]:
    if codec == "gzip":
        return _Gzip, zlib.error
    import zstandard

    return _Zstd, zstandard.ZstdError


class _Gzip:
    """A gzip member: output comes in parts of bounded size, however much is packed into the input."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def decoded(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """Output, input that is left, and whether there may be more output without further input."""
        out = self._stream.decompress(data, _BLOCK_BYTES)
        eof = self._stream.eof
        return out, self._stream.unused_data if eof else self._stream.unconsumed_tail, not eof and len(out) == _BLOCK_BYTES


class _Zstd:
    """A zstd frame, as ``_Gzip``."""

    def __init__(self) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    def decoded(self, data: bytes) -> tuple[bytes, bytes, bool]:
        out = self._stream.decompress(data)
        return out, self._stream.unused_data if self._stream.eof else b"", False
