"""A file's bytes are those of its text in UTF-8, whatever it is written in."""

import pytest

from ingestion.formats.file_bytes import file_bytes

TEXT = '{"a": "é 😀 \u4e2d"}' * 100_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_parts_of_a_file_are_in_utf_8(tmp_path, encoding):
    (tmp_path / "f.json").write_bytes(TEXT.encode(encoding))
    with file_bytes(tmp_path / "f.json") as data:
        assert (len(data), data[5:40], data[-5:]) == (len(TEXT.encode()), TEXT.encode()[5:40], TEXT.encode()[-5:])
        assert data[: len(data)] == TEXT.encode()


def test_half_a_character_costs_itself(tmp_path):
    (tmp_path / "f.json").write_bytes(TEXT.encode("utf-16")[:-1])
    with file_bytes(tmp_path / "f.json") as data:
        assert data[: len(data)].decode() == TEXT[:-1] + "\ufffd"


def test_an_empty_file_has_none(tmp_path):
    (tmp_path / "f.json").touch()
    with file_bytes(tmp_path / "f.json") as data:
        assert (len(data), data[:9]) == (0, b"")
