"""Duplicates, leakage and drift between splits, as views: against brute force and definitions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lakesight import delta, sql
from lakesight.sections import CheckConfig
from lakesight.tables import TABLES
from lakesight.warehouse import create_warehouse

NEAR = 3
QUERIES = Path(__file__).parents[2] / "dashboards" / "queries"


def write(warehouse, name, rows):
    shared = {"dataset": "d", "run_id": "r"}
    table = pa.Table.from_pylist([shared | row for row in rows], TABLES[name].arrow)
    delta.commit(warehouse, name, table, app_id=f"test/{name}", txn=1)


@pytest.fixture(scope="module")
def hashes():
    """400 hashes: some equal, some a few bits from another."""
    rng = np.random.default_rng(5)
    found = [int(h) for h in rng.integers(0, 2**63, 200)]
    for _ in range(200):
        value = found[rng.integers(0, len(found))]
        for bit in rng.choice(64, rng.integers(0, 7), replace=False):
            value ^= 1 << int(bit)
        found.append(value)
    return found


@pytest.fixture(scope="module")
def tables(tmp_path_factory, hashes):
    made = create_warehouse(tmp_path_factory.mktemp("views") / "root")
    delta.create_tables(made)
    images = [
        {
            "image_id": i,
            "file_name": f"{i}.jpg",
            "pixel_hash": f"p{i}",
            "sha256": f"s{i}",
            "split": "train" if i % 3 else "val",
        }
        for i in range(len(hashes))
    ]
    images += [
        {"dataset": "e", "image_id": 1, "file_name": "copy.jpg", "pixel_hash": "p5", "sha256": "s5", "split": "val"},
        {
            "dataset": "e",
            "image_id": 2,
            "file_name": "again.png",
            "pixel_hash": "p5",
            "sha256": "other",
            "split": "test",
        },
    ]
    write(made, "images", images)
    figures = [{"image_id": i, "dhash": f"{h:016x}", "contrast": 50.0} for i, h in enumerate(hashes)]
    figures += [{"image_id": 1000 + i, "dhash": "0" * 16, "contrast": 0.0} for i in range(5)]
    write(made, "image_properties", figures)
    return made


@pytest.fixture
def ask(tables, spark):
    return lambda text: sql.query(tables, spark, text).to_pylist()


def test_near_duplicates_are_all_there_and_no_others(ask, hashes):
    rows = ask("SELECT image_id, other_image_id, split, other_split, distance FROM near_duplicates")
    firsts = {}
    for i, h in enumerate(hashes):
        firsts.setdefault((h, bool(i % 3)), i)
    expected = {
        (i, j, (h ^ other).bit_count())
        for i, h in enumerate(hashes)
        for (other, _), j in firsts.items()
        if i != j and (h ^ other).bit_count() <= NEAR
    }
    assert {(r["image_id"], r["other_image_id"], r["distance"]) for r in rows} == expected
    assert len(rows) == len(expected) > 100
    assert {r["distance"] for r in rows} == {0, 1, 2, 3}


def test_exact_duplicates_tell_files_from_pixels(ask):
    rows = ask("SELECT * FROM exact_duplicates ORDER BY dataset, image_id")
    assert [(r["dataset"], r["image_id"], r["copies"], r["copies_of_the_file"]) for r in rows] == [
        ("d", 5, 3, 2), ("e", 1, 3, 2), ("e", 2, 3, 1),
    ]  # fmt: skip
    assert {tuple(r["first_copy"].values()) for r in rows} == {("d", 5)}


def test_split_leakage_is_exact_and_near(ask):
    rows = ask("SELECT * FROM split_leakage")
    exact = {
        (r["dataset"], r["image_id"], r["other_dataset"], r["other_image_id"]) for r in rows if r["kind"] == "exact"
    }
    assert exact == {
        ("d", 5, "e", 1), ("d", 5, "e", 2), ("e", 1, "d", 5), ("e", 1, "e", 2), ("e", 2, "d", 5), ("e", 2, "e", 1),
    }  # fmt: skip
    near = [r for r in rows if r["kind"] == "near"]
    assert near
    assert all(r["split"] != r["other_split"] and r["distance"] <= NEAR for r in near)


def test_the_dashboards_queries_count_images(ask):
    duplicates, leakage = (ask((QUERIES / f"{name}.sql").read_text()) for name in ("duplicates", "leakage"))
    counted = {(r["dataset"], r["kind"]): (r["images"], r["groups"]) for r in duplicates}
    (alike,) = ask("SELECT count(DISTINCT image_id) AS images FROM near_duplicates")
    assert counted == {
        ("d", "same pixels"): (1, 1), ("e", "same pixels"): (2, 1), ("d", "look alike"): (alike["images"], None),
    }  # fmt: skip
    exact = {(r["dataset"], r["split"], r["other_dataset"], r["other_split"]) for r in leakage if r["kind"] == "exact"}
    assert exact == {
        ("d", "train", "e", "val"), ("d", "train", "e", "test"), ("e", "val", "d", "train"),
        ("e", "val", "e", "test"), ("e", "test", "d", "train"), ("e", "test", "e", "val"),
    }  # fmt: skip


def boxes(rng, split, first, shares, side):
    """100 images with 3 boxes each: classes by `shares`, squares of about `side` pixels."""
    images = [{"image_id": first + i, "split": split} for i in range(100)]
    annotations = [
        {
            "annotation_id": 3 * (first + i) + k,
            "image_id": first + i,
            "category_id": int(rng.choice(len(shares), p=shares)),
            "bbox": [0.0, 0.0, *[float(side * rng.uniform(0.5, 2))] * 2],
        }
        for i in range(100)
        for k in range(3)
    ]
    return images, annotations


def test_split_drift_finds_what_was_put_in_and_nothing_else(warehouse, spark):
    rng = np.random.default_rng(2)
    even, skewed = [0.25, 0.25, 0.25, 0.25], [0.85, 0.05, 0.05, 0.05]
    plan = [
        ("train", 0, even, 30),
        ("train", 100, even, 30),
        ("same", 200, even, 30),
        ("classes", 300, skewed, 30),
        ("sizes", 400, even, 120),
    ]
    parts = [boxes(rng, split, first, shares, side) for split, first, shares, side in plan]
    for name, place in (("images", 0), ("annotations", 1)):
        write(warehouse, name, [row for part in parts for row in part[place]])
    rows = sql.query(warehouse, spark, "SELECT * FROM split_drift").to_pylist()
    assert {r["reference"] for r in rows} == {"train"}
    found = {(r["split"], r["figure"]): r for r in rows}
    limit = CheckConfig().max_split_psi
    assert {key for key, r in found.items() if r["psi"] >= max(limit, r["psi_of_chance"])} == {
        ("classes", "class mix"), ("sizes", "box size"),
    }  # fmt: skip
    counts = {
        s: np.bincount(
            [a["category_id"] for (n, *_), p in zip(plan, parts, strict=True) if n == s for a in p[1]], minlength=4
        )
        for s in ("train", "classes")
    }
    p, q = (counts[s] / counts[s].sum() for s in ("classes", "train"))
    assert found["classes", "class mix"]["psi"] == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
