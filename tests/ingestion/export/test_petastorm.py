"""The export for Petastorm, read by Petastorm itself in the environment that `lakesight setup petastorm` makes."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ingestion.export.export import Request
from ingestion.export.folder import MANIFEST
from ingestion.export.petastorm import export_petastorm
from ingestion.export.petastorm_columns import SCHEMA
from lakesight import delta, environments
from lakesight.cli.app import app
from lakesight.config import Config
from lakesight.errors import UserError
from lakesight.tables import TABLES

PAGE = Path(__file__).parents[3] / "docs" / "petastorm.md"
ALL_COLUMNS = """
import hashlib, json, sys
from petastorm import make_batch_reader

for folder in sys.argv[1:]:
    shards = (0, 1) if folder.endswith("train") else (None,)
    for shard in shards:
        count = None if shard is None else len(shards)
        url, shard = "file://" + folder, {"cur_shard": shard, "shard_count": count}
        with make_batch_reader(url, reader_pool_type="dummy", **shard) as reader:
            for batch in reader:
                for values in zip(*batch):
                    row = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in zip(batch._fields, values)}
                    row["content"] = hashlib.sha256(row["content"]).hexdigest()
                    print(json.dumps(row))
"""
SAY = """
        print(json.dumps({key: value.tolist() for key, value in batch.items() if key != "image"}))
        print(images.shape, images.dtype, boxes.shape, labels.dtype, images.float().mean((1, 2, 3)).tolist())
"""


@pytest.fixture
def filled(shapes_warehouse, tmp_path):
    """`shapes`, and of val an image that is held by reference, with masks and keypoints, and one with nothing on it."""
    made = shapes_warehouse()
    rows = delta.read(made, "samples").filter(pc.field("split") == "val").slice(0, 2).to_pylist()
    rows[0] |= {"image_id": 7007, "source_uri": str(tmp_path / "7.png"), "file_name": 'a "b"/ü.png', "split": None}
    (tmp_path / "7.png").write_bytes(rows[0].pop("content"))
    box = {"annotation_id": 2**53 + 1, "category_id": 3, "label": 2, "bbox": [1.5, 2, 3, 4], "area": 12.0, "iscrowd": 1}
    rows[0]["annotations"] = [
        box | {"segmentation": "[[1,2,3,4,5,6]]", "keypoints": [1.0, 2, 2, 0, 0, 0]},
        box | {"annotation_id": 5, "segmentation": None, "keypoints": [9.0, 9, 1]},
    ]
    rows[1] |= {"image_id": 8008, "annotations": [], "exif_orientation": 6, "split": "val 2"}
    for row in rows:
        row["num_annotations"] = len(row["annotations"])
    delta.commit(made, "samples", pa.Table.from_pylist(rows, TABLES["samples"].arrow), app_id="odd", txn=1)
    return made


def run(warehouse, out, **options):
    return export_petastorm(warehouse, Config(), Request(dataset="shapes", to=out, **options))


def exported(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(row, most, points):
    """A row of samples as it must come out."""
    annotations = row["annotations"]
    missing = most - len(annotations)
    content = row["content"] if row["content"] is not None else Path(row["source_uri"]).read_bytes()
    keypoints = [(a["keypoints"] or []) + [0.0] * (3 * points - len(a["keypoints"] or [])) for a in annotations]
    return {
        **{name: row[name] for name in ("image_id", "file_name", "width", "height", "num_annotations")},
        "split": row["split"] or "",
        "content": hashlib.sha256(content).hexdigest(),
        "exif_orientation": row["exif_orientation"] or 1,
        "annotation_ids": [a["annotation_id"] for a in annotations] + [0] * missing,
        "category_ids": [a["category_id"] for a in annotations] + [0] * missing,
        "labels": [a["label"] for a in annotations] + [-1] * missing,
        "boxes": [value for a in annotations for value in a["bbox"]] + [0.0] * 4 * missing,
        "areas": [a["area"] or 0.0 for a in annotations] + [0.0] * missing,
        "iscrowd": [a["iscrowd"] or 0 for a in annotations] + [0] * missing,
        "segmentations": [a["segmentation"] or "" for a in annotations] + [""] * missing,
        "keypoints": [value for some in keypoints for value in some] + [0.0] * 3 * points * missing,
    }


def read_by_petastorm(code, *arguments):
    python = environments.set_up("petastorm") / "bin/python"
    done = environments.run(str(python), "-W", "ignore", "-c", code, *map(str, arguments))
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in done.stdout.splitlines() if line[:1] in "{t"]  # not Petastorm's own


@pytest.mark.slow
def test_petastorm_reads_every_row(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(delta, "ROWS_PER_GROUP", 5)  # Petastorm deals row groups out
    monkeypatch.setattr(delta, "TARGET_FILE_BYTES", 1)
    out = tmp_path / "out"
    report = run(filled, out)
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["splits"] == {"images": 1, "train": 24, "val": 8, "val 2": 1}
    assert (report.num_images, manifest["max_keypoints"]) == (34, 2)
    rows = delta.read(filled, "samples").to_pylist()
    most = max(row["num_annotations"] for row in rows)
    assert manifest["max_annotations"] == most > 2
    found = [json.loads(line) for line in read_by_petastorm(ALL_COLUMNS, *(out / name for name in manifest["splits"]))]
    assert [set(row) for row in found] == [set(SCHEMA.names)] * 34
    assert {row["image_id"]: row for row in found} == {row["image_id"]: expected(row, most, 2) for row in rows}


@pytest.mark.slow
def test_the_documented_program_gives_tensors(filled, tmp_path):
    out = tmp_path / "an out"
    run(filled, out, where=None)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    program = program.replace("/data/out/train", f"{out}/train").replace("import io", "import io, json") + SAY
    lines = read_by_petastorm(program)
    batches, said = [json.loads(line) for line in lines[::2]], lines[1::2]
    rows = {row["image_id"]: row for row in delta.read(filled, "samples").to_pylist() if row["split"] == "train"}
    assert sorted(number for batch in batches for number in batch["image_id"]) == sorted(rows)
    assert said[0].startswith("torch.Size([16, 320, 320, 3]) torch.uint8 torch.Size([16, ")
    assert "torch.int32" in said[0]
    for batch, line in zip(batches, said, strict=True):
        brightness = json.loads(line[line.rindex("[") :])
        assert min(brightness) > 1
        for number, labels, boxes in zip(batch["image_id"], batch["labels"], batch["boxes"], strict=True):
            row = rows[number]
            real = [label for label in labels if label >= 0]
            assert real == [a["label"] for a in row["annotations"]]
            sides = [row["width"], row["height"]] * 2
            stated = [np.divide(a["bbox"], sides) for a in row["annotations"]]
            assert np.allclose(np.reshape(boxes, (-1, 4))[: len(real)], np.reshape(stated, (-1, 4)))


def test_the_same_version_gives_the_same_bytes(filled, tmp_path):
    first = run(filled, tmp_path / "first")
    row = delta.read(filled, "samples").slice(0, 1)
    row = row.set_column(row.schema.get_field_index("image_id"), "image_id", pa.array([99]))
    delta.commit(filled, "samples", row, app_id="later", txn=1)
    again = run(filled, tmp_path / "again", at=f"samples={first.versions['samples']}")
    assert again.versions["samples"] == first.versions["samples"] == delta.version(filled, "samples") - 1
    before, after = exported(tmp_path / "first"), exported(tmp_path / "again")
    manifests = [json.loads(files.pop(Path(MANIFEST))) for files in (before, after)]
    assert before == after
    assert manifests[0] | {"at": None} == manifests[1] | {"at": None}
    assert manifests[0]["classes"] == {"0": "circle", "1": "square", "2": "triangle"}


def test_row_groups_and_files(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(delta, "ROWS_PER_GROUP", 5)
    monkeypatch.setattr(delta, "TARGET_FILE_BYTES", 1)
    run(filled, tmp_path / "small")
    files = [pq.ParquetFile(path).metadata for path in sorted((tmp_path / "small/train").iterdir())]
    assert [file.num_rows for file in files] == [5, 5, 5, 5, 4]
    monkeypatch.setattr(delta, "TARGET_FILE_BYTES", 2**20)
    run(filled, tmp_path / "one")
    (path,) = (tmp_path / "one/train").iterdir()
    assert pq.ParquetFile(path).metadata.num_row_groups == 5
    ordered = delta.read(filled, "samples", columns=["image_id"], where=pc.field("split") == "train")
    assert pq.read_table(path)["image_id"].to_pylist() == ordered["image_id"].to_pylist()


def test_a_selection(filled, spark, tmp_path):
    report = run(filled, tmp_path / "val", where="split = 'val' AND num_annotations > 0")
    assert [path.name for path in (tmp_path / "val").iterdir() if path.is_dir()] == ["val"]
    assert 0 < report.num_images <= 8
    one = run(filled, tmp_path / "one", sql="SELECT image_id FROM samples WHERE image_id = 8008")
    assert (one.num_images, one.num_annotations) == (1, 0)
    assert pq.read_table(tmp_path / "one/val 2")["boxes"].to_pylist() == [[]]


def test_from_the_command_line(filled, tmp_path):
    given = ["--root", str(filled.root), "--to", str(tmp_path / "out"), "--at", "samples=1"]
    result = CliRunner().invoke(app, ["export", "petastorm", *given])
    assert result.exit_code == 0, result.output
    assert "32 images" in result.output.replace("\n", " ")
    assert "samples v1" in result.output.replace("\n", " ")
    assert isinstance(CliRunner().invoke(app, ["export", "petastorm", *given]).exception, UserError)


def test_what_cannot_be_exported_writes_nothing(filled, warehouse, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="lakesight build"):
        run(warehouse, out)
    with pytest.raises(UserError, match="'images' is not read here"):
        run(filled, out, at="images=1")
    (tmp_path / "7.png").unlink()
    with pytest.raises(UserError, match="held by reference"):
        run(filled, out)
    assert list(tmp_path.glob("*out*")) == []
