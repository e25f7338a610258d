"""What cannot be there is not there, and raises nothing."""

import os

import pytest

from lakesight.places import is_file, is_folder, is_there


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "loop", "file/below", "gone"])
def test_what_cannot_be_is_not_there(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    assert not any(ask(tmp_path / name) for ask in (is_file, is_folder, is_there))


def test_what_is_there(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    found = {name: [ask(tmp_path / name) for ask in (is_file, is_folder, is_there)] for name in ("file", "pipe", "")}
    assert found == {"file": [True, False, True], "pipe": [False, False, True], "": [False, True, True]}
