from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskdepth.errors import DataError
from taskdepth.tasks import raw_rows
from taskdepth.tasks.raw_rows import csv_rows, json_lines, json_list, parquet_rows

ROWS = [{"text": 'one, "two"\n{three} \\ ü 💡', "n": [1, 2.5, None]}, {}, {"text": "x" * 300}]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_list_is_read_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int, ascii_only: bool
) -> None:
    monkeypatch.setattr(raw_rows, "_CHUNK_CHARACTERS", chunk)
    file = tmp_path / "a.json"
    file.write_text(json.dumps(ROWS, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    assert [row.fields() for row in json_list(file)] == ROWS


def test_the_places_of_a_list_are_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[\n  {"a": 1},\n\n  {\n"a": 2}, {"a": 3}\n]\n')
    assert [row.place for row in json_list(file)] == [f"{file}:{n}" for n in (2, 4, 5)]
    for empty in ("[]", " [\n]\n"):
        file.write_text(empty)
        assert list(json_list(file)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.json:1: expected a JSON list, found the end of the file"),
        ('{"a": 1}', r"a\.json:1: expected a JSON list, found '{'"),
        ('[{"a": 1}', r"a\.json:1: not JSON: expected , or \], found the end of the file"),
        ('[{"a": 1}\n{"a": 2}]', r"a\.json:2: not JSON: expected , or \], found '{'"),
        ('[{"a": 1},\n]', r"a\.json:2: not JSON: Expecting value"),
        ('[{"a": 1},\n{"b": oops}]', r"a\.json:2: not JSON: Expecting value"),
        ('[{"a":\n"x\n"}]', "not JSON: Invalid control character"),
        ('[{"a": "x', r"a\.json:1: not JSON: Unterminated string"),
        ("[3]", "expected an object, found int"),
    ],
)
def test_what_is_no_list_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        [row.fields() for row in json_list(file)]


def test_an_early_error_in_a_long_list_is_told_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_rows, "_CHUNK_CHARACTERS", 64)
    file = tmp_path / "a.json"
    # behind the error, bytes that nobody may have read
    file.write_bytes(b'[{"a": oops}, ' + b'{"a": 1}, ' * 10_000 + b"\xff")
    with pytest.raises(DataError, match="Expecting value"):
        list(json_list(file))


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(DataError, match="a: not UTF-8 at byte 8"):
        list(json_list(file))
    file.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n{"a": 3}\n')
    first, second, third = json_lines(file)
    assert (first.fields(), third.fields()) == ({"a": 1}, {"a": 3})
    with pytest.raises(DataError, match="a:2: not UTF-8 at byte 7 of the line"):
        second.fields()
    file.write_bytes(b"a,b\n\xff,1\n")
    with pytest.raises(DataError, match="a: not UTF-8 at byte 4"):
        list(csv_rows(file))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    for text, read in [('[{"a": 1}]', json_list), ('{"a": 1}\n', json_lines), ("a\n1\n", csv_rows)]:
        file = tmp_path / "a"
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())
        (row,) = read(file)
        assert list(row.fields()) == ["a"]


def test_csv_cells_records_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('a,b\n1,"x\ny"\n\n2\n3,\n"' + "z" * 200_000 + '",4\n')
    rows = list(csv_rows(file))
    assert rows[0].fields() == {"a": "1", "b": "x\ny"}
    with pytest.raises(DataError, match=r"a\.csv:5: 1 cells under 2 columns"):
        rows[1].fields()
    assert (rows[2].place, rows[2].fields()) == (f"{file}:6", {"a": "3", "b": None})
    assert len(rows[3].fields()["a"]) == 200_000


def test_what_is_no_parquet(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_text("no")
    with pytest.raises(DataError, match=r"a\.parquet: not Parquet: .+") as caught:
        list(parquet_rows(file))
    assert "\n" not in str(caught.value)
