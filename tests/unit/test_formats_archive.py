"""Archives of strangers are read within bounds, whatever they say of themselves."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from loopreview.formats import archive
from loopreview.formats.archive import Archive, Bomb, Damaged, leaves_archive

TEXT = b'{"what": "ever"}' * 5_000


def made(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def zstd_made(path: Path, entries: dict[str, bytes]) -> Path:
    """As a newer Inspect writes them."""
    zipped = pytest.importorskip("backports.zstd.zipfile")
    with zipped.ZipFile(path, "w", zipped.ZIP_ZSTANDARD) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def renamed_method(path: Path, old: int, new: int) -> Path:
    """The archive says of its first entry that it is compressed in another way."""
    raw = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = raw.index(mark) + offset
        assert struct.unpack_from("<H", raw, place) == (old,)
        struct.pack_into("<H", raw, place, new)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_are_read_as_they_were_written(tmp_path: Path, method: int) -> None:
    path = made(tmp_path / "a.zip", {"a": TEXT, "b/c": b"", "d": b"x"}, method)
    with Archive(path) as found:
        assert found.names() == ["a", "b/c", "d"]
        assert [bytes(found.read(name)) for name in ("d", "a", "b/c", "a")] == [b"x", TEXT, b"", TEXT]


def test_entries_compressed_with_zstandard_are_read_also_in_several_frames(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    path = zstd_made(tmp_path / "a.eval", {"a": TEXT, "b": b""})
    with Archive(path) as found:
        assert bytes(found.read("a")) == TEXT and bytes(found.read("b")) == b""
    frames = zstd.compress(TEXT) + zstd.compress(b"") + zstd.compress(TEXT * 9)
    made(path, {"a": frames}, zipfile.ZIP_STORED)
    renamed_method(path, zipfile.ZIP_STORED, archive.ZSTANDARD)
    raw = path.read_bytes()
    crc = struct.pack("<L", zlib.crc32(TEXT * 10))
    path.write_bytes(raw.replace(struct.pack("<L", zlib.crc32(frames)), crc))
    with Archive(path) as found:
        assert bytes(found.read("a")) == TEXT * 10


def test_without_the_library_for_zstandard_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = renamed_method(made(tmp_path / "a.eval", {"a": TEXT}), zipfile.ZIP_DEFLATED, archive.ZSTANDARD)
    known = archive.importlib.import_module

    def missing(name: str) -> object:
        if "zstd" in name:
            raise ImportError(name)
        return known(name)

    monkeypatch.setattr(archive.importlib, "import_module", missing)
    with Archive(path) as found, pytest.raises(Damaged, match=r"pip install 'loopreview\[data\]'"):
        found.read("a")


def test_an_entry_that_expands_too_far_is_given_up_without_holding_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRY_BYTES", 2**20)
    path = made(tmp_path / "a.eval", {"bomb": bytes(50 * 2**20), "fine": b"{}"})
    tracemalloc.start()
    try:
        with Archive(path) as found:
            with pytest.raises(Damaged, match="expands to over 1 MB"):
                found.read("bomb")
            assert bytes(found.read("fine")) == b"{}"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * 2**20


def test_a_zstandard_entry_that_expands_too_far_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zstd_made(tmp_path / "a.eval", {"bomb": bytes(50 * 2**20)})
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(archive, "MAX_ENTRY_BYTES", 2**20)
    with Archive(path) as found, pytest.raises(Damaged, match="expands to over 1 MB"):
        found.read("bomb")


def test_what_counts_is_what_comes_out_and_not_what_the_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path / "a.eval", {"bomb": bytes(5 * 2**20)})
    raw = path.read_bytes().replace(struct.pack("<L", 5 * 2**20), struct.pack("<L", 7))
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as lying:
        assert lying.infolist()[0].file_size == 7
    monkeypatch.setattr(archive, "MAX_ENTRY_BYTES", 2**20)
    with Archive(path) as found, pytest.raises(Damaged, match="expands to over"):
        found.read("bomb")


def test_many_entries_that_expand_far_are_given_up_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 3 * 2**20)
    path = made(tmp_path / "a.eval", {f"{n}": bytes(2**20) for n in range(20)})
    read = 0
    with Archive(path) as found, pytest.raises(Bomb, match="200 times its size"):
        for name in found.names():
            read += len(found.read(name))
    assert read < 8 * 2**20


@pytest.mark.parametrize("raw", [b"PK\x03\x04", b"PK\x03\x04" + b"x" * 500, b"", b"not a zip"])
def test_what_is_no_archive_is_said(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.eval").write_bytes(raw)
    with pytest.raises(Damaged, match="no zip archive"):
        Archive(tmp_path / "a.eval")


def test_an_archive_that_was_cut_off_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "a.eval", {"a": TEXT})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Damaged, match="cut off"):
        Archive(path)


def test_damaged_entries_are_said_and_lose_only_themselves(tmp_path: Path) -> None:
    path = made(tmp_path / "a.eval", {"a": TEXT, "b": b"stored text", "c": b"fine"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"stored text", b"altered now"))
    with Archive(path) as found:
        with pytest.raises(Damaged, match="checksum"):
            found.read("b")
        assert bytes(found.read("c")) == b"fine"


@pytest.mark.parametrize(("method", "said"), [(8, "damaged"), (14, "method 14")])
def test_an_entry_that_is_not_compressed_as_it_says_is_said(tmp_path: Path, method: int, said: str) -> None:
    path = renamed_method(made(tmp_path / "a.eval", {"a": TEXT}, zipfile.ZIP_STORED), 0, method)
    with Archive(path) as found, pytest.raises(Damaged, match=said):
        found.read("a")


def test_an_entry_that_is_encrypted_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "a.eval", {"a": TEXT})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with Archive(path) as found, pytest.raises(Damaged, match="encrypted"):
        found.read("a")


def test_an_archive_behind_other_bytes_is_read(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr("a", TEXT)
    (tmp_path / "a.eval").write_bytes(b"#!/bin/sh\n" + whole.getvalue())
    with Archive(tmp_path / "a.eval") as found:
        assert bytes(found.read("a")) == TEXT


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        ("samples/1_epoch_1.json", False),
        ("samples/one/two_epoch_1.json", False),
        ("samples/a..b_epoch_1.json", False),
        ("../evil.json", True),
        ("samples/../../evil.json", True),
        ("samples\\..\\evil.json", True),
        ("/etc/passwd", True),
        ("C:\\evil.json", True),
    ],
)
def test_names_that_lead_out_of_the_archive_are_known(name: str, leaves: bool) -> None:
    assert leaves_archive(name) is leaves
