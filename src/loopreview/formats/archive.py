"""Reading zip archives that somebody else made: nothing is unpacked to disk, and what is read is bounded."""

import importlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_ENTRY_BYTES = 128 * 2**20
FREE_BYTES, MAX_RATIO = 2**30, 200
"""All entries together may expand to this many bytes and, beyond it, to so many times the file's size."""
PIECE_BYTES = 2**16
STORED, DEFLATED, ZSTANDARD = 0, 8, 93


class Damaged(ValueError):
    """An archive or an entry that cannot be read; the message says why."""


class Bomb(Damaged):
    """An archive that expands beyond all measure; there is no use in reading on."""


class Archive:
    """A zip archive. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises Damaged for what is no zip archive, and OSError."""
        try:
            with zipfile.ZipFile(path) as found:
                self._entries = {info.filename: info for info in found.infolist()}
        except OSError:
            raise
        except Exception:
            # zipfile raises what comes its way on bytes made to confuse it.
            raise Damaged("no zip archive, or one that is damaged or was cut off") from None
        self._file = path.open("rb")
        self._left = FREE_BYTES + MAX_RATIO * path.stat().st_size

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def names(self) -> list[str]:
        """The names of the entries, in the archive's order. They are names only: nothing is written under them."""
        return list(self._entries)

    def read(self, name: str) -> bytearray:
        """An entry's bytes. What counts is what comes out, not what the archive says. Raises Damaged, OSError."""
        info = self._entries[name]
        if info.flag_bits & 1:
            raise Damaged("is encrypted")
        found = bytearray()
        for piece in _expanded(self._raw(info), info.compress_type):
            found += piece
            self._left -= len(piece)
            if self._left < 0:
                raise Bomb(f"expands to over {MAX_RATIO} times its size, as no log does; the rest was not read")
            if len(found) > MAX_ENTRY_BYTES:
                raise Damaged(f"expands to over {MAX_ENTRY_BYTES // 2**20} MB")
        if zlib.crc32(found) != info.CRC:
            raise Damaged("is damaged (its checksum is wrong)")
        return found

    def _raw(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        self._file.seek(info.header_offset)
        head = self._file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise Damaged("is damaged (it is not where the archive says)")
        name_length, extra_length = struct.unpack("<HH", head[26:])
        self._file.seek(name_length + extra_length, 1)
        left = info.compress_size
        while left > 0 and (raw := self._file.read(min(PIECE_BYTES, left))):
            left -= len(raw)
            yield raw


def leaves_archive(name: str) -> bool:
    """Whether an entry's name would lead elsewhere if somebody unpacked it."""
    parts = re.split(r"[/\\]", name)
    return ".." in parts or parts[0] == "" or bool(re.match(r"[A-Za-z]:", name))


def _expanded(raw: Iterator[bytes], method: int) -> Iterator[bytes]:
    """The bytes that `raw` stands for, at most PIECE_BYTES at a time. Raises Damaged."""
    if method == STORED:
        return raw
    if method == DEFLATED:
        return _inflated(raw)
    if method == ZSTANDARD:
        return _unzstd(raw, _zstd())
    raise Damaged(f"is compressed in a way that is not read (method {method})")


def _inflated(raw: Iterator[bytes]) -> Iterator[bytes]:
    expander = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in raw:
            out = b""
            while data or len(out) == PIECE_BYTES:
                out = expander.decompress(data, PIECE_BYTES)
                data = expander.unconsumed_tail
                yield out
            if expander.eof:
                return
    except zlib.error:
        raise Damaged("is damaged") from None


def _unzstd(raw: Iterator[bytes], zstd: Any) -> Iterator[bytes]:
    """An entry may be several frames, one after the other."""
    expander = zstd.ZstdDecompressor()
    try:
        for data in raw:
            while data or not expander.needs_input:
                if expander.eof:
                    expander = zstd.ZstdDecompressor()
                yield expander.decompress(data, PIECE_BYTES)
                data = expander.unused_data if expander.eof else b""
                if expander.eof and not data:
                    break
    except zstd.ZstdError:
        raise Damaged("is damaged") from None


def _zstd() -> Any:
    """Python's own from 3.14 on, else the same under the name of its backport. Raises Damaged."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise Damaged("is compressed with Zstandard; to read it: pip install 'loopreview[data]'")
