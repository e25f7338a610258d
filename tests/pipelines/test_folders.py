"""VOC and YOLO as pipelines, held against the verbs on the same folder: VOC in two runs, YOLO (an update costs) in one."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

TABLES = ("images", "image_properties", "categories", "annotations")
MADE_BY = ("run_id", "ingested_at", "computed_at", "content")


def png(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (30, 40, 3), np.uint8)).save(path)


def put(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def xml(filename, *boxes):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>{x + w}</xmax><ymax>20</ymax></bndbox>"
        "<truncated>1</truncated></object>"
        for name, x, w in boxes
    )
    return f"<annotation><filename>{filename}</filename><folder>f</folder>{objects}</annotation>"


def voc(folder, part):
    """Second part: labels that were late, a new class, an image set that grew; and all that is refused."""
    if part == 1:
        for seed, name in enumerate(("a", "sub dir/é b", "late", "bare")):
            png(folder / f"JPEGImages/{name}.png", seed)
        put(folder, {
            "Annotations/a.xml": xml("a.png", ("dog", 3, 9), ("mule", 5, 9)),
            "Annotations/sub dir/é b.xml": xml("other.png", ("dog", 1, 4)),
            "ImageSets/Main/train.txt": "a\n", "ImageSets/Main/dog_train.txt": "bare 1\n", "notes.txt": "no image",
        })  # fmt: skip
        return
    for name, seed in (("new", 9), ("copy", 0), ("half", 11)):
        png(folder / f"JPEGImages/{name}.png", seed)
    put(folder, {
        "Annotations/late.xml": xml("late.png", ("ant", 1, 4), ("dog", 1, -30)),
        "Annotations/new.xml": xml("new.png", ("dog", 30, 50), (" ", 1, 4)),
        "Annotations/twice.xml": xml("a.png", ("cow", 1, 4)),
        "Annotations/nowhere.xml": xml("nowhere.png", ("eel", 1, 4)),
        "Annotations/half.xml": "<annotation",
        "JPEGImages/broken.jpg": "no image",
        "ImageSets/Main/train.txt": "a\nnew\n", "ImageSets/Main/val.txt": "new\nlate\n",
    })  # fmt: skip


def yolo(folder, part):
    """The same for YOLO: what is late, new, refused; boxes and polygons; folders and lists."""
    if part == 1:
        for seed, name in enumerate(("train/a", "train/sub dir/é b", "val/late", "val/bare")):
            png(folder / f"images/{name}.png", seed)
        put(folder, {
            "data.yaml": "train: images/train\nval: [images/val]\ntest: test.txt\nnames: [cat, dog]\n",
            "test.txt": "images/train/a.png\n",
            "labels/train/a.txt": "0 .5 .5 .25 .3\n1 .1 .1 .7 .2 .3 .9\n",
            "labels/train/sub dir/é b.txt": "1 .3 .3 .1 .1\n", "labels/train/classes.txt": "cat\n",
        })  # fmt: skip
        return
    for name, seed in (("images/train/new", 9), ("images/train/copy", 0), ("images/val/half", 11), ("other/x", 10),
                       ("other/é y", 12), ("images/z", 13)):  # fmt: skip
        png(folder / f"{name}.png", seed)
    put(folder, {
        "data.yaml": "train: images/train\nval: [images/val]\ntest: [test.txt, lists/m.txt]\nminival: lists/m.txt\n"
        "names: [cat, dog, eel]\n",
        "test.txt": "\ufeffimages/train/a.png\nother/é y.png\n\n", "other/é y.txt": "0 .5 .5 .1 .1\n",
        "lists/m.txt": "../other/é y.png\n ../images/z.png\r\nother/gone.png\n../../../out.png\nnul\0.png\n",
        "labels/z.txt": "1 .5 .5 .2 .2\n0 0 0 9 9\n", "labels/unlisted.txt": "0 .5 .5 .1 .1\n",
        "labels/val/late.txt": "1 .5 .5 .2 .2\n1 .5 .5 0 .2\n2 nonsense\n",
        "labels/train/new.txt": "2 .9 .9 .1 .1\n7 .5 .5 .1 .1\n",
        "labels/train/stray.txt": "0 .5 .5 .1 .1\n",
        "labels/val/half.txt": b"\xff\xfe\xfd",
        "images/val/broken.jpg": "no image", "labels/val/broken.txt": "0 .1 .2 .7 .2 .3 .9\n",
    })  # fmt: skip


FORMATS = {"voc": (voc, [(1,), (2,)], "--folder", ""), "yolo": (yolo, [(1, 2)], "--data", "data.yaml")}
"""What arrives, in which updates, and how the verb is told."""


@pytest.fixture(scope="module", params=FORMATS)
def updated(request, server, tmp_path_factory):
    """A function: rows of a query, as the pipeline and as the verb have it; after as many runs of each."""
    arrive, updates, option, file = FORMATS[request.param]
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    for parts in updates:
        for part in parts:
            arrive(folder, part)
        pipeline = ["--source", folder, "--dataset", name, "--format", name, "--schema", f"piped_{name}"]
        for command in (["pipeline", *pipeline], ["ingest", name, option, folder / file, "--dataset", name]):
            done = server.run(*command)
            assert done.returncode == 0, done.stderr

    def ask(columns, table, tail=""):
        query = f"SELECT {columns} FROM {{}}.{table} WHERE dataset = '{name}' {tail}"
        return [server.query(query.format(schema)) for schema in (f"piped_{name}", "lakesight")]

    return ask


@pytest.mark.parametrize("table", TABLES)
def test_silver_is_what_the_verb_writes(updated, table):
    key = {"categories": "category_id", "annotations": "annotation_id"}.get(table, "image_id")
    piped, batch = (
        [{c: v for c, v in row.items() if c not in MADE_BY} for row in rows]
        for rows in updated("*", table, f"ORDER BY {key}")
    )
    assert len(batch) >= 3
    assert piped == batch


def test_refusals_are_those_of_the_verb(updated):
    piped, batch = (
        Counter((r["table_name"], r["source_uri"], r["record"], tuple(sorted(map(_reason, r["errors"])))) for r in rows)
        for rows in updated("table_name, source_uri, record, errors", "quarantine")
    )
    assert len(batch) >= 6
    assert piped == batch


def _reason(error):
    return error["rule"], error["observed"]


def test_what_came_first_keeps_its_run(updated, request):
    piped, _ = updated("file_name, run_id", "images")
    runs = {row["file_name"].rsplit("/", 1)[-1]: row["run_id"] for row in piped}
    _, updates, *_ = FORMATS[request.node.callspec.params["updated"]]
    assert len(set(runs.values())) == len(updates)
    assert runs["a.png"] == runs["bare.png"] == min(runs.values())
    assert runs["late.png"] == runs["new.png"] == max(runs.values())
