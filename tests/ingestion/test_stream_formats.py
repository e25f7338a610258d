"""VOC and YOLO files that come one by one into a watched folder: in the end, what one ingest of the folder gives."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingestion import publish
from ingestion.formats.read_voc import read_voc
from ingestion.formats.read_yolo import read_yolo
from ingestion.load import ingest
from ingestion.stream import stream
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.warehouse import Warehouse

DATA = ("images", "annotations", "categories", "image_properties", "quarantine")
STEMS = ("a", "sub folder/zwölf Ö #5%", "new\nline", "late")


class Voc:
    """Where VOC has its files, and what is in one."""

    images, labels, suffix = "JPEGImages", "Annotations", ".xml"

    def text(self, name, xmin):
        box = f"<xmin>{xmin}</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax>"
        return f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"

    def whole(self):
        return {"ImageSets/Main/train.txt": "a\nsub folder/zwölf Ö #5%\n"}

    def read(self, folder, known):
        return read_voc(known, folder=folder, dataset="d", split=None)


class Yolo:
    """The same for YOLO."""

    images, labels, suffix = "images", "labels", ".txt"

    def text(self, name, xmin):
        return f"{('cat', 'dog').index(name)} 0.5 0.5 {1 / xmin} 0.25\n"

    def whole(self):
        return {"data.yaml": "train: images\nnames: [cat, dog]\n"}

    def read(self, folder, known):
        return read_yolo(data=folder / "data.yaml", dataset="d")


FORMATS = {"voc": Voc(), "yolo": Yolo()}


@pytest.fixture(params=FORMATS)
def format_(request):
    return request.param


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def picture(seed, tmp_path):
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return (tmp_path / "picture.png").read_bytes()


@pytest.fixture
def finished(tmp_path, format_):
    """All that will have come: four images, their annotation files, a broken one, links out of the folder."""
    form, folder = FORMATS[format_], tmp_path / "finished"
    for place, stem in enumerate((*STEMS, "broken")):
        put(folder / form.images / f"{stem}.png", picture(place, tmp_path))
        put(folder / form.labels / f"{stem}{form.suffix}", form.text(("cat", "dog")[place % 2], place + 2))
    put(folder / form.labels / f"broken{form.suffix}", b"\xff<broken")
    for name, text in form.whole().items():
        put(folder / name, text)
    put(tmp_path / "secret.png", picture(99, tmp_path))
    put(folder / form.images / "stolen.png", picture(98, tmp_path))
    (folder / form.images / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / form.labels / f"stolen{form.suffix}").symlink_to("/etc/hostname")
    return folder


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


def arrive(finished, folder, *patterns):
    """Copy what matches, links as links."""
    for source in (path for pattern in patterns for path in finished.glob(pattern) if not path.is_dir()):
        target = folder / source.relative_to(finished)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


@pytest.fixture
def run(warehouse, spark, folder):
    """One `ingest stream`: its last report."""

    def run_once(format_, **options):
        reports = []
        work = partial(stream, warehouse.root, Config(), watch=folder, dataset="d", split=None, format_=format_)
        work(tell=reports.append, **options)
        return reports[-1]

    return run_once


@pytest.fixture
def same_as_batch(warehouse, folder, tmp_path, contents):
    """A function: the tables are those of one ingest of the folder as it is."""

    def compare(format_):
        root = tmp_path / f"batch {len(list(tmp_path.iterdir()))}"
        ingest(root, Config(), "d", partial(FORMATS[format_].read, folder))
        for name in DATA:
            assert repr(contents(warehouse, name)) == repr(contents(Warehouse(root), name)), name

    return compare


@pytest.fixture
def status(warehouse, folder):
    """A function: path in the folder -> (status, reason)."""

    def read(path):
        rows = delta.read(warehouse, "arrivals", columns=["source_uri", "status", "reason"]).to_pylist()
        (found,) = [row for row in rows if row["source_uri"] == str(folder / path)]
        return found["status"], found["reason"]

    return read


def test_files_that_dribble_in_end_as_one_batch(format_, finished, folder, run, status, same_as_batch, warehouse):
    form = FORMATS[format_]
    arrive(finished, folder, f"{form.images}/a.png", f"{form.images}/new*")
    assert run(format_).files == {"waiting": 2}

    # All annotation files, half of the images.
    arrive(finished, folder, f"{form.labels}/**/*", "ImageSets/**/*", "data.yaml", f"{form.images}/link.png")
    report = run(format_)
    assert delta.count(warehouse, "images") == delta.count(warehouse, "annotations") == 2
    assert status(f"{form.images}/link.png") == ("refused", None)
    assert "it is a link out of the folder" in status(f"{form.labels}/stolen{form.suffix}")[1]
    assert status(f"{form.labels}/broken{form.suffix}")[0] == "refused"
    assert report.files["refused"] >= 3

    arrive(finished, folder, "**/*")
    report = run(format_)
    assert delta.count(warehouse, "images") == delta.count(warehouse, "annotations") == 4
    assert status(f"{form.images}/broken.png") == ("refused", None)
    assert status(f"{form.labels}/late{form.suffix}") == ("landed", None)
    assert "expected" not in report.files
    same_as_batch(format_)


def test_changed_mended_and_deleted_files(format_, finished, folder, run, status, same_as_batch, warehouse):
    form = FORMATS[format_]
    arrive(finished, folder, "**/*")
    put(folder / form.images / "notes.md", "no image")
    assert "1 .md" in " ".join(run(format_).notes)
    before = delta.versions(warehouse, *DATA, "sources", "arrivals")
    run(format_)
    assert delta.versions(warehouse, *DATA, "sources", "arrivals") == before

    label = folder / form.labels / f"a{form.suffix}"
    times = label.stat()
    put(label, form.text("cat", 5))
    os.utime(label, ns=(times.st_atime_ns, times.st_mtime_ns))
    put(folder / form.labels / f"broken{form.suffix}", form.text("dog", 7))
    (folder / form.labels / f"late{form.suffix}").unlink()
    changes = run(format_).changes["annotations"]
    assert (changes.added, changes.updated, changes.removed) == (1, 1, 1)
    assert status(f"{form.labels}/late{form.suffix}")[0] == "gone"
    assert status(f"{form.labels}/broken{form.suffix}") == ("landed", None)
    same_as_batch(format_)


def test_a_file_that_breaks_and_keeps_its_size_is_not_taken_for_what_it_was(
    format_, finished, folder, run, status, warehouse
):
    form = FORMATS[format_]
    arrive(finished, folder, "**/*")
    run(format_)
    image, label = f"{form.images}/a.png", folder / form.labels / f"late{form.suffix}"
    whole = (folder / image).read_bytes()
    refused = delta.count(warehouse, "quarantine")
    put(folder / image, whole[:60] + bytes(len(whole) - 60))
    for xmin in (8, 9):  # the second time the file has not changed since the look before
        put(label, form.text("cat", xmin))
        run(format_)
        assert status(image) == ("refused", None)
        assert delta.count(warehouse, "quarantine") > refused
    # Other bytes, while a broken annotation file keeps the image from being read.
    other = whole[:-1] + b"!"
    put(folder / image, other)
    put(folder / form.labels / f"a{form.suffix}", b"\xff<broken")
    run(format_)
    assert status(image) == ("refused", None)
    put(folder / form.labels / f"a{form.suffix}", form.text("cat", 2))
    run(format_)
    assert status(image) == ("landed", None)
    assert delta.count(warehouse, "quarantine") == refused
    rows = delta.read(warehouse, "images", columns=["file_name", "content"]).to_pylist()
    assert next(row["content"] for row in rows if row["file_name"].endswith("a.png")) == other


def test_files_that_move_within_the_folder(
    format_, finished, folder, run, same_as_batch, warehouse, tmp_path, monkeypatch
):
    form = FORMATS[format_]
    arrive(finished, folder, "**/*")
    run(format_)
    for kind, suffix in ((form.images, ".png"), (form.labels, form.suffix)):
        (folder / kind / "moved").mkdir()
        for stem in ("a", "late"):
            (folder / kind / f"{stem}{suffix}").rename(folder / kind / f"moved/{stem}{suffix}")
    put(folder / form.labels / f"moved/a{form.suffix}", form.text("cat", 9))
    put(folder / form.images / "copy.png", (folder / form.images / "moved/a.png").read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(publish, "_remove_images", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(warehouse.root, Config(), "d", partial(form.read, folder))
    assert delta.count(warehouse, "images") == 6  # in both places, for now
    assert run(format_).changes["images"].removed == 2
    same_as_batch(format_)
    assert run(format_).changes == {}


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("format_", ["yolo"], indirect=True)
def test_a_folder_that_was_taken_for_coco(finished, folder, run, format_):
    arrive(finished, folder, "**/*")
    assert "landed" not in run("coco").files
    assert run(format_).files["landed"] >= 8


def test_links_out_of_a_folder_of_coco(folder, tmp_path, run, warehouse, status):
    made = shapes.write_coco(tmp_path / "made", split="train", num_images=3, seed=1, size=48)
    shutil.copytree(made.parent, folder, dirs_exist_ok=True)
    other = shapes.write_coco(tmp_path / "other", split="train", num_images=1, seed=2, size=48, first_id=101)
    (folder / "train/train_000001.jpg").unlink()
    (folder / "train/train_000001.jpg").symlink_to(other.parent / "train/train_000101.jpg")
    (folder / "other.json").symlink_to(other)
    run("coco")
    assert delta.count(warehouse, "images") == 2
    assert status("train/train_000001.jpg") == ("refused", None)
    assert "link out of the watched folder" in status("other.json")[1]
    rows = delta.read(warehouse, "quarantine").to_pylist()
    (row,) = [row for row in rows if row["table_name"] == "images"]
    assert json.loads(row["record"])["file_name"] == "train_000001.jpg"
    assert "leads out of the image folder" in row["errors"][0]["observed"]


@pytest.mark.parametrize(
    ("format_", "options", "message"),
    [
        ("yolo", {"split": "train"}, "leave --split out"),
        ("yolo", {"files": {"data.yaml": "path: {out}\ntrain: .\nnames: [cat]\n"}}, "out of the watched folder"),
        ("voc", {"links": ["JPEGImages"]}, "out of the watched folder"),
    ],
    ids=["split", "path", "link"],
)
def test_wrong_input(tmp_path, folder, run, format_, options, message):
    out = tmp_path / "out"
    put(out / "a.png", picture(1, tmp_path))
    put(folder / "Annotations/a.xml", Voc().text("cat", 2))
    for name, text in options.get("files", {}).items():
        put(folder / name, text.format(out=out))
    for name in options.get("links", ()):
        (folder / name).symlink_to(out)
    if "split" in options:
        with pytest.raises(UserError, match=message):
            stream(tmp_path / "root", Config(), watch=Path(folder), dataset="d", split="x", format_="yolo", tell=print)
    else:
        assert message in " ".join(run(format_).reasons.values())
