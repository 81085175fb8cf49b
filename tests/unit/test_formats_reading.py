"""Files that other people wrote: encodings, broken lines, values that are no JSON."""

import codecs
import json
import tracemalloc
from pathlib import Path

import pytest

from loopreview.formats import reading
from loopreview.formats.reading import Malformed, Skip, Value, parse, read_lines, read_values


def written(tmp_path: Path, content: str | bytes, name: str = "file.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(path: Path) -> list[object]:
    found = list(read_values(path))
    assert not [skip for skip in found if isinstance(skip, Skip)]
    return [value.value for value in found if isinstance(value, Value)]


def skips(path: Path) -> list[Skip]:
    return [skip for skip in read_values(path) if isinstance(skip, Skip)]


TEXT = '{"a": "é中"}\r\n\n{"a": 2}\n'


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with a mark", "utf-16 little endian", "utf-16 big endian"],
)
def test_utf8_and_marked_utf16_are_read(tmp_path: Path, content: bytes) -> None:
    found = list(read_values(written(tmp_path, content)))
    assert [(v.value, v.line) for v in found if isinstance(v, Value)] == [({"a": "é中"}, 1), ({"a": 2}, 3)]


def test_a_line_feed_inside_a_utf16_character_ends_no_line(tmp_path: Path) -> None:
    text = '{"a": "ਊ ਁ ʼn Ċ"}\n{"a": 2}'  # their code units hold the byte 0x0A
    assert values(written(tmp_path, codecs.BOM_UTF16_LE + text.encode("utf-16-le"))) == [{"a": "ਊ ਁ ʼn Ċ"}, {"a": 2}]


def test_one_line_in_another_encoding_is_skipped_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1}\n{"a": "caf\xe9"}\n{"a": 3}\n')
    first, bad, last = read_values(path)
    assert isinstance(first, Value) and isinstance(last, Value) and last.value == {"a": 3}
    assert bad == Skip("file.jsonl#2", 2, "not UTF-8: byte 0xe9 at position 11 of the line; save the file as UTF-8")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x00a\x00\x00\x00", b"a\x00b\x00", b"\x00\x01"])
def test_utf32_unmarked_utf16_and_binary_files_are_one_skip(tmp_path: Path, content: bytes) -> None:
    (skip,) = skips(written(tmp_path, content, "file.json"))
    assert "UTF-8" in skip.reason


def test_utf16_that_breaks_off_inside_a_character_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, codecs.BOM_UTF16_LE + '{"a": 1}\n'.encode("utf-16-le") + b"\x41")
    assert [skip.reason for skip in skips(path)][-1].startswith("not UTF-16")


@pytest.mark.parametrize("content", ["", " \n\n\t\n", codecs.BOM_UTF8])
def test_an_empty_file_is_one_skip(tmp_path: Path, content: str | bytes) -> None:
    assert list(read_values(written(tmp_path, content))) == [Skip("file.jsonl", None, "the file is empty")]


@pytest.mark.parametrize("name", ["file.json", "file.jsonl", "file"])
def test_json_and_jsonl_are_told_by_the_content(tmp_path: Path, name: str) -> None:
    records = [{"n": 1}, {"n": 2}]
    for text in (
        json.dumps(records),
        json.dumps(records, indent=2),
        "\n".join(map(json.dumps, records)),
        "[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n",
    ):
        assert values(written(tmp_path, text, name)) == records


@pytest.mark.parametrize("name", ["file.json", "file.jsonl"])
def test_a_single_object_is_one_record_however_it_is_laid_out(tmp_path: Path, name: str) -> None:
    record = {"messages":[{"role": "user"}]}  # fmt: skip
    for text in (json.dumps(record), json.dumps(record, indent=1), '{"messages":\n[{"role": "user"}]\n}'):
        assert values(written(tmp_path, text, name)) == [record]


def test_a_bare_list_of_messages_is_one_record_and_a_list_of_such_lists_several(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert values(written(tmp_path, json.dumps(messages))) == [messages]
    assert values(written(tmp_path, json.dumps([messages, messages]))) == [messages, messages]
    assert values(written(tmp_path, f"{json.dumps(messages)}\n{json.dumps(messages)}\n")) == [messages, messages]


def test_records_are_placed_by_line_in_jsonl_and_by_position_in_json(tmp_path: Path) -> None:
    in_lines = read_values(written(tmp_path, '\n{"n": 1}\n\n{"n": 2}\n'))
    assert [(v.place, v.line) for v in in_lines if isinstance(v, Value)] == [("2", 2), ("4", 4)]
    in_list = read_values(written(tmp_path, '[{"n": 1},\n\n{"n": 2}]', "file.json"))
    assert [(v.place, v.line) for v in in_list if isinstance(v, Value)] == [("1", None), ("2", None)]


def test_half_a_json_line_at_the_end_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"n": 1}\n{"n": 2}\n{"n": "thr')
    assert [v.value for v in read_values(path) if isinstance(v, Value)] == [{"n": 1}, {"n": 2}]
    (skip,) = skips(path)
    assert (skip.source, skip.line) == ("file.jsonl#3", 3)
    assert "cut off" in skip.reason


@pytest.mark.parametrize("name", ["file.json", "file.jsonl"])
def test_a_broken_first_line_loses_only_itself(tmp_path: Path, name: str) -> None:
    found = list(read_values(written(tmp_path, '{"n": 1\n{"n": 2}\n{"n": 3}\n', name)))
    assert isinstance(found[0], Skip) and found[0].line == 1
    assert [v.value for v in found[1:] if isinstance(v, Value)] == [{"n": 2}, {"n": 3}]


@pytest.mark.parametrize(
    "content", ["Hello,\nthis is no JSON.\n", "<html>", "{'a': 1}", '{"a": 1', '[{"a": 1},\n{"b"', "123 4"]
)
def test_what_is_no_json_is_one_line_with_its_place(tmp_path: Path, content: str) -> None:
    (skip,) = read_values(written(tmp_path, content, "file.json"))
    assert isinstance(skip, Skip)
    assert skip.line and skip.reason.startswith("not JSON: ") and f"line {skip.line} column" in skip.reason
    assert "\n" not in skip.reason


def test_an_empty_list_is_said(tmp_path: Path) -> None:
    (skip,) = skips(written(tmp_path, "[]", "file.json"))
    assert "empty list" in skip.reason


@pytest.mark.parametrize("name", ["file.json", "file.jsonl"])
def test_deeply_nested_json_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    (skip,) = read_values(written(tmp_path, "[" * 100_000 + "]" * 100_000, name))
    assert isinstance(skip, Skip) and "nested too deeply" in skip.reason
    nearly = '{"a": "\\ud800", "b": ' + "[" * 900 + "]" * 900 + "}"  # read, but too deep to be walked through
    assert all(isinstance(found, Value) or "nested" in found.reason for found in read_values(written(tmp_path, nearly)))


def test_nan_and_infinities_are_read_as_null_and_noted_where_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": NaN, "b": [1e999, -Infinity, 1.5]}\n{"a": "NaN"}\n')
    odd, plain = read_values(path)
    assert isinstance(odd, Value) and isinstance(plain, Value)
    assert odd.value == {"a": None, "b": [None, None, 1.5]} and "NaN" in odd.notes[0]
    assert (plain.value, plain.notes) == ({"a": "NaN"}, ())


def test_a_number_with_thousands_of_digits_is_refused_in_a_line(tmp_path: Path) -> None:
    (skip,) = skips(written(tmp_path, '{"a": ' + "9" * 5_000 + "}", "file.json"))
    assert "digits" in skip.reason


def test_lone_surrogates_are_replaced_and_noted_and_pairs_kept(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": "x\\ud800y"}\n{"a": "\\ud83d\\ude00"}\n{"a": "raw\xed\xa0\x80"}\n')
    lone, pair, raw = read_values(path)
    assert isinstance(lone, Value) and isinstance(pair, Value) and isinstance(raw, Value)
    assert lone.value == {"a": "x�y"} and "U+FFFD" in lone.notes[0]
    assert (pair.value, pair.notes) == ({"a": "😀"}, ())
    assert raw.value["a"].startswith("raw�") and raw.notes


def test_notes_of_an_array_stand_only_at_the_record_concerned(tmp_path: Path) -> None:
    first, second = read_values(written(tmp_path, '[{"a": "\\udfff"}, {"a": "b"}]', "file.json"))
    assert isinstance(first, Value) and isinstance(second, Value)
    assert first.notes and not second.notes


def test_control_characters_escapes_markup_and_all_scripts_are_kept(tmp_path: Path) -> None:
    text = "\x00\x07\x1b[31mred\x1b[0m [/foo] \u202eabc\u202c שלום العربية 中文かな \u2028 \x85"
    for ascii_only in (True, False):
        assert values(written(tmp_path, json.dumps({"a": text}, ensure_ascii=ascii_only))) == [{"a": text}]
    assert values(written(tmp_path, '{"a": "raw \x1b and\ttab"}')) == [{"a": "raw \x1b and\ttab"}]


def test_a_line_over_the_limit_is_skipped_and_the_next_one_read(tmp_path: Path) -> None:
    for encoding, bom in (("utf-8", b""), ("utf-16-le", codecs.BOM_UTF16_LE)):
        path = written(tmp_path, bom + f'{{"a": 1}}\n{{"a": "{"x" * 3_000_000}"}}\n{{"a": 3}}'.encode(encoding))
        lines = list(read_lines(path, 1_000))
        assert [(line.number, bool(line.problem)) for line in lines] == [(1, False), (2, True), (3, False)]
        assert lines[2].text == '{"a": 3}'


def test_a_json_document_over_the_limit_is_to_come_as_jsonl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_DOCUMENT_BYTES", 1_000)
    (skip,) = skips(written(tmp_path, json.dumps([{"a": "x" * 2_000}], indent=1), "file.json"))
    assert "JSONL" in skip.reason


def test_jsonl_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(4_000):
            file.write(json.dumps({"n": number, "text": "x" * 5_000}) + "\n")
    tracemalloc.start()
    try:
        assert sum(isinstance(value, Value) for value in read_values(path)) == 4_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000 < path.stat().st_size


def test_a_file_that_cannot_be_read_is_a_skip(tmp_path: Path) -> None:
    (skip,) = skips(tmp_path / "gone.jsonl")
    assert "cannot be read: No such file" in skip.reason


def test_parse_says_where_it_stopped() -> None:
    with pytest.raises(Malformed) as error:
        parse('{"a": 1,\n "b": }')
    assert (error.value.line, error.value.column) == (2, 7)
