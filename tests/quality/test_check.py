"""The check on real tables: counts, the gate, Data Docs, Great Expectations' agreement, the gallery."""

import json
import re
import shutil

import pytest

from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config, replace
from lakesight.errors import TableError, UserError
from lakesight.sections import CheckConfig
from lakesight.warehouse import Warehouse
from quality import expectations
from quality.check import check, flags
from quality.context import CHECKED, SOURCES, with_context
from quality.gallery import write_gallery
from quality.rules import of_table, rules


@pytest.fixture(scope="module")
def ingested(tmp_path_factory, spark):
    """A root with 30 images and the demo's defects; what was planted."""
    folder = tmp_path_factory.mktemp("check")
    path = shapes.write_coco(folder / "s", split="train", num_images=30, seed=3)
    defects = shapes.plant_defects(path)
    images = path.parent / "train"
    ingest_coco(folder / "root", Config(), images=images, annotations=path, dataset="shapes", split="train")
    return folder / "root", defects


def copy(root, folder):
    shutil.copytree(root, folder / "root")
    return Warehouse(folder / "root")


@pytest.fixture(scope="module")
def spoiled(ingested, tmp_path_factory, spark):
    """`ingested` with bad rows in a table; how it was checked, and the report."""
    warehouse = copy(ingested[0], tmp_path_factory.mktemp("spoiled"))
    boxes = f"delta.`{warehouse.path('annotations')}`"
    (first, second, third) = [
        row.annotation_id
        for row in spark.sql(f"SELECT annotation_id FROM {boxes} ORDER BY bbox[2] * bbox[3] LIMIT 3").collect()
    ]
    spark.sql(f"UPDATE {boxes} SET bbox = array(1D, 2D, -3D, 5D) WHERE annotation_id = {first}")
    spark.sql(f"UPDATE {boxes} SET category_id = 50, area = -1D WHERE annotation_id = {second}")
    spark.sql(f"INSERT INTO {boxes} SELECT * FROM {boxes} WHERE annotation_id = {third}")
    config = Config(check=CheckConfig(gallery_images=2, max_box_share=0.05))
    return warehouse, config, check(warehouse, config, dataset="shapes"), first


def rows(warehouse, run_id):
    found = delta.read(warehouse, "quality_results").to_pylist()
    return {row["rule"]: row for row in found if row["run_id"] == run_id}


def refuse_what_needs_the_internet(site):
    """Links (<a>) may lead anywhere; all else is in the site, and so are the pages that its pages lead to."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        outside = re.findall(r"<(?!a\b)[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>|(?:url\(|@import)[^;)]*//", text)
        assert not outside, page
        inside = re.findall(r"<a\s[^>]*href=\"([^\"#:]+)\"", text)
        assert inside
        for link in inside:
            assert (page.parent / link).is_file(), (page, link)


@pytest.mark.slow
def test_planted_defects_are_counted_and_pass(ingested, tmp_path):
    root, planted = ingested
    warehouse = copy(root, tmp_path)
    config = Config(check=CheckConfig(min_class_annotations=1000))  # so that something is warned of
    report = check(warehouse, config)
    assert not report.failed
    found = rows(warehouse, report.run_id)
    assert set(found) == {rule.name for rule in rules(CheckConfig())}
    for rule, count in planted.items():
        assert found[rule]["unexpected_count"] == count, rule
        assert found[rule]["success"] is False
        details = json.loads(found[rule]["details"])
        assert (details["in_table"], details["in_quarantine"]) == (0, count)
    assert found["image_decodes"]["element_count"] == 30
    assert found["annotation_box_valid"]["success"] is True
    assert found["annotation_box_valid"]["table_version"] == delta.version(warehouse, "annotations")
    assert report.advice
    docs = report.data_docs.read_text()
    assert "Data Docs" in docs
    pages = list(report.data_docs.parent.rglob("validations/**/*.html"))
    assert len(pages) == len(CHECKED) - 1  # there is one split: nothing to compare
    assert "annotation_box_inside" in "".join(page.read_text() for page in pages)
    assert len(re.findall(rf"href=\"validations/[^\"]*{report.run_id}", docs)) == len(pages)
    refuse_what_needs_the_internet(report.data_docs.parent)
    # Again: the same run, no row more; what fails it is another question.
    version = delta.version(warehouse, "quality_results")
    assert check(warehouse, config) == report
    strict = check(warehouse, Config(check=CheckConfig(min_class_annotations=1000, fail_on="warn")))
    assert strict.failed
    assert strict.advice.startswith("category_has_annotations")
    assert delta.version(warehouse, "quality_results") == version


@pytest.mark.slow
def test_bad_rows_in_a_table_fail_and_great_expectations_agrees(spoiled, spark):
    warehouse, config, report, _ = spoiled
    assert report.failed
    broken = {r.rule.name: r.in_table for r in report.results if r.in_table and r.rule.severity != "info"}
    assert broken.pop("category_has_annotations", 0) in (0, 1, 2, 3)
    assert broken.pop("annotation_box_partial") > 2
    assert broken == {
        "annotation_box_positive": 1,
        "annotation_box_tiny": 1,
        "annotation_category_known": 1,
        "annotation_area_positive": 1,
        "annotation_id_unique": 1,
    }
    assert "To do" in report.advice
    assert not check(warehouse, replace(config, {"check.fail_on": "never"}), dataset="shapes").failed
    active = rules(config.check)
    by_table = {name: of_table(name, active) for name in CHECKED}
    frames = with_context(spark, warehouse, delta.versions(warehouse, *SOURCES))
    tables = {name: flags(frame, by_table[name]) for name, frame in frames.items()}
    theirs = expectations.validate(tables, by_table, warehouse.root / "agreement", "test")
    assert theirs == {r.rule.name: r.in_table for r in report.results}


@pytest.mark.slow
def test_a_gallery_has_offenders_of_tables_and_of_quarantine(spoiled, tmp_path):
    warehouse, config, report, negative = spoiled
    out = tmp_path / "new" / "out.html"
    write_gallery(warehouse, config, report, out)
    parts = dict(
        re.findall(r"<h2>.*?</span> (\w+) in shapes: \d+</h2>(.*?)(?=<h2>|</body>)", out.read_text(), re.DOTALL)
    )
    pictured = {r.rule.name for r in report.results if r.unexpected and r.rule.table not in ("categories", "splits")}
    assert set(parts) == pictured
    assert parts["annotation_box_positive"].count("<figure>") == 2  # one in the table, one refused
    assert parts["annotation_box_positive"].count("tag quarantine") == 1
    assert f"annotation {negative}" in parts["annotation_box_positive"]
    assert parts["annotation_box_partial"].count("<figure>") == 2  # there are more
    assert parts["annotation_box_partial"].count('class="bad"') == 2
    assert "base64" in parts["image_unique"]  # the refused copy is a whole file
    assert "no picture to show" in parts["image_decodes"]
    assert "truncated: " in parts["image_decodes"]
    with pytest.raises(UserError, match="gallery cannot be written"):
        write_gallery(warehouse, config, report, tmp_path)


def test_great_expectations_counts_and_fetches_no_rows():
    from quality.rule_expectation import of_rule  # its import takes seconds

    form = {"result_format": {"result_format": "BASIC", "partial_unexpected_count": 0}}
    asked = of_rule(rules(CheckConfig())[0]).get_validation_dependencies(runtime_configuration=form)
    assert {name.rpartition(".")[2] for name in asked.get_metric_names()} == {"unexpected_count", "row_count"}


@pytest.mark.parametrize("dataset", [None, "nothing"])
def test_nothing_to_check(warehouse, dataset):
    with pytest.raises(TableError):
        check(warehouse, Config(), dataset=dataset)
