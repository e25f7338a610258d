"""What is listed, what counts as changed, and which file a `file_name` means."""

import os
from pathlib import Path

import pytest

from ingestion.folder import Folder, digest, list_files


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def listed(folder):
    return [os.path.relpath(path, folder) for path in list_files(folder)["source_uri"].to_pylist()]


def test_files_of_all_sub_folders_but_hidden_ones(tmp_path):
    put(tmp_path, "b.jpg", "a/x y.jpg", "a/ü/猫.jpg", ".hidden.jpg", ".copying/c.jpg", "notes.txt")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert listed(tmp_path) == ["a/x y.jpg", "a/ü/猫.jpg", "b.jpg", "notes.txt"]


def test_a_name_that_is_no_utf8_is_listed(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb") as file:  # noqa: PTH123 - a Path cannot name it
        file.write(b"x")
    assert listed(tmp_path) == ["\ufffd.jpg"]


def test_a_name_that_was_written_on_windows(tmp_path):
    put(tmp_path, "cam/a.jpg", "b\\c.jpg", "x/d.jpg", "y/d.jpg")
    folder = Folder(tmp_path, list_files(tmp_path))
    names = {"cam\\a.jpg": ["cam/a.jpg"], "b\\c.jpg": ["b\\c.jpg"], ".\\a.jpg": ["cam/a.jpg"], "x\\d.jpg": ["x/d.jpg"]}
    for name, found in names.items():
        assert folder.places(name, tmp_path / "a.json") == [str(tmp_path / path) for path in found]


def test_an_empty_folder(tmp_path):
    files = list_files(tmp_path)
    assert files.num_rows == 0
    assert Folder(tmp_path, files).places("a.jpg", tmp_path / "a.json") == []


def grow(path):
    path.write_text("more")


def keep_the_time(path):
    seen = path.stat()
    path.write_text("b")  # same size
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


@pytest.mark.parametrize("change", [grow, keep_the_time, Path.touch, Path.unlink])
def test_a_digest_tells_any_change(tmp_path, change):
    (tmp_path / "a").write_text("a")
    before = digest(list_files(tmp_path))
    assert digest(list_files(tmp_path)) == before
    change(tmp_path / "a")
    assert digest(list_files(tmp_path)) != before


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("1.jpg", ["labels/1.jpg"]),  # beside the annotation file, though there is one at the top too
        ("2.jpg", ["2.jpg"]),  # at the top, though there is one below too
        ("3.jpg", ["deep/er/3.jpg"]),
        ("er/3.jpg", ["deep/er/3.jpg"]),
        ("./er/3.jpg", ["deep/er/3.jpg"]),
        ("../2.jpg", ["2.jpg"]),  # from the annotation file
        ("r/3.jpg", []),
        ("4.jpg", ["x/4.jpg", "y/4.jpg"]),
        ("y/4.jpg", ["y/4.jpg"]),
        ("../../etc/passwd", []),
        ("", []),
        ("\0", []),
    ],
)
def test_places(tmp_path, file_name, expected):
    put(tmp_path, "1.jpg", "labels/1.jpg", "2.jpg", "deep/2.jpg", "deep/er/3.jpg", "x/4.jpg", "y/4.jpg")
    found = Folder(tmp_path, list_files(tmp_path)).places(file_name, tmp_path / "labels" / "instances.json")
    assert [os.path.relpath(path, tmp_path) for path in found] == expected
