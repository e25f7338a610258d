"""What a YOLO data set says of its images: data.yaml, folders and lists, as sets."""

import pytest

from lakesight.errors import FormatError
from pipelines.yolo import label_files, lists_of, read_data


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text("images/1.png\n")
    return (tmp_path / "in").resolve()


def state(folder, text):
    (folder / "data.yaml").write_text(f"{text}\nnames: [cat]\n")
    return read_data(folder)[1]


def test_its_lists(folder):
    assert lists_of(state(folder, "train: images\nval: [images, a.txt]\nmini: a.txt")) == [folder / "a.txt"] * 2


@pytest.mark.parametrize(
    ("text", "message"), [("train: b.txt", "is not UTF-8"), ("path: ..\ntrain: in/images", "a pipeline cannot follow")]
)
def test_what_a_pipeline_cannot_read_is_refused_first(folder, text, message):
    (folder / "b.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(FormatError, match=message):
        state(folder, text)


FILES = ["images/1.png", "images/2.png", "other/3.png", "other/4.png"]
NOW = "TIMESTAMP '2026-01-02 00:00:00' AS arrived_at"


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        pytest.param("train: images", [], [("images/1.png", "train"), ("images/2.png", "train")], id="a folder"),
        pytest.param(
            "train: a.txt\nval: images",
            [("a.txt", "images/1.png"), ("a.txt", "images/1.png"), ("a.txt", "other/3.png"), ("a.txt", "gone.png")],
            [("gone.png", "train"), ("images/1.png", "train"), ("images/2.png", "val"), ("other/3.png", "train")],
            id="a list before a folder",
        ),
        pytest.param(
            "val: images\ntest: a.txt",
            [("a.txt", "images/1.png"), ("a.txt", "other/4.png")],
            [("images/1.png", "val"), ("images/2.png", "val"), ("other/4.png", "test")],
            id="a folder before a list",
        ),
    ],
)
def test_the_first_split_of_an_image_counts(spark, folder, text, lines, expected):
    data = state(folder, text)
    views = {
        "image_files": " UNION ALL ".join(f"SELECT '{folder}/{name}' AS path, {NOW}" for name in FILES),
        "annotation_files": f"SELECT '{folder}/data.yaml' AS path, CAST('' AS BINARY) AS content, {NOW}",
        "image_facts": "SELECT '' AS path, 1 AS width, 1 AS height",
        "list_lines": "SELECT '' AS path, '' AS name, CAST(NULL AS STRING) AS because WHERE FALSE"
        + "".join(f" UNION ALL SELECT '{folder}/{path}', '{name}', NULL" for path, name in lines),
    }
    for name, query in views.items():
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
    rows = spark.sql(label_files(data.root, data.places)).collect()
    for name in views:
        spark.catalog.dropTempView(name)
    assert sorted((row.image, row.split) for row in rows) == expected
    assert all(row.path == f"{folder}/{row.image}" and row.arrived_at for row in rows)
