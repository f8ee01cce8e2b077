"""Opening trace files: gzip and zstd seen through, hashed on the way, cut into blocks of whole lines."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from traces.errors import InputError

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READ_BYTES = 256 << 10
_BLOCK_BYTES = 4 << 20
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

    Raises:
        InputError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self.name = path.name or path.resolve().name
        self.is_folder = path.is_dir()
        self._sha256 = ""
        if not path.exists():
            raise InputError(f"{self.where}: no such file; check the path, or `twinserve traces list` for traces that need none")
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
                rest = data
                while rest:
                    if stream.eof:
                        stream = new()
                    out = stream.decompress(rest)
                    rest = stream.unused_data if stream.eof else b""
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
        if rest := b"".join(parts):
            yield Block(line, rest)

    def members(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        """Name and content of the files inside a folder or tar archive whose name matches."""
        yield from (self._in_folder(wanted) if self.is_folder else self._in_archive(wanted))

    def _in_folder(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        digest = hashlib.sha256()
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and wanted.search(name):
                data = path.read_bytes()
                digest.update(name.encode() + b"\0" + data)
                yield name, data
        self._sha256 = digest.hexdigest()

    def _in_archive(self, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        stream = _Stream(self.chunks())
        try:
            with tarfile.open(fileobj=io.BufferedReader(stream), mode="r|") as archive:
                for member in archive:
                    if member.isfile() and wanted.search(member.name) and (inside := archive.extractfile(member)) is not None:
                        yield member.name, inside.read()
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{self.where}: not a readable tar archive ({error}); get the file again") from None
        while stream.read(_READ_BYTES):  # to the end of the file, so that its digest is whole
            pass


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
        return lambda: zlib.decompressobj(wbits=31), zlib.error
    import zstandard

    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError
