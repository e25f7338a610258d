"""The check on real tables: counts, the gate, Data Docs, Great Expectations' agreement."""

import json
import re

import pytest

from ingestion.load import ingest_coco
from lakesight import delta, shapes
from lakesight.config import Config
from lakesight.errors import TableError
from lakesight.sections import CheckConfig
from quality import expectations
from quality.check import check, flags
from quality.context import CHECKED, SOURCES, with_context
from quality.rules import of_table, rules


@pytest.fixture
def planted(warehouse, spark, tmp_path):
    """30 images with the demo's defects, ingested; what was planted."""
    path = shapes.write_coco(tmp_path / "s", split="train", num_images=30, seed=3)
    defects = shapes.plant_defects(path)
    images = path.parent / "train"
    ingest_coco(warehouse.root, Config(), images=images, annotations=path, dataset="shapes", split="train")
    return defects


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
def test_planted_defects_are_counted_and_pass(warehouse, planted):
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
def test_bad_rows_in_a_table_fail_and_great_expectations_agrees(warehouse, planted, spark):
    boxes = f"delta.`{warehouse.path('annotations')}`"
    (first, second, third) = [
        row.annotation_id for row in spark.sql(f"SELECT annotation_id FROM {boxes} ORDER BY 1 LIMIT 3").collect()
    ]
    spark.sql(f"UPDATE {boxes} SET bbox = array(0D, 0D, 0D, 5D) WHERE annotation_id = {first}")
    spark.sql(f"UPDATE {boxes} SET category_id = 50, area = -1D WHERE annotation_id = {second}")
    spark.sql(f"INSERT INTO {boxes} SELECT * FROM {boxes} WHERE annotation_id = {third}")
    report = check(warehouse, Config(), dataset="shapes")
    assert report.failed
    broken = {r.rule.name: r.in_table for r in report.results if r.in_table and r.rule.severity != "info"}
    assert broken.pop("category_has_annotations", 0) in (0, 1, 2, 3)
    assert broken == {
        "annotation_box_positive": 1,
        "annotation_box_tiny": 1,
        "annotation_category_known": 1,
        "annotation_area_positive": 1,
        "annotation_id_unique": 1,
    }
    assert "To do" in report.advice
    assert not check(warehouse, Config(check=CheckConfig(fail_on="never")), dataset="shapes").failed
    active = rules(CheckConfig())
    by_table = {name: of_table(name, active) for name in CHECKED}
    frames = with_context(spark, warehouse, delta.versions(warehouse, *SOURCES))
    tables = {name: flags(frame, by_table[name]) for name, frame in frames.items()}
    theirs = expectations.validate(tables, by_table, warehouse.root / "agreement", "test")
    assert theirs == {r.rule.name: r.in_table for r in report.results}


def test_great_expectations_counts_and_fetches_no_rows():
    from quality.rule_expectation import of_rule  # its import takes seconds

    form = {"result_format": {"result_format": "BASIC", "partial_unexpected_count": 0}}
    asked = of_rule(rules(CheckConfig())[0]).get_validation_dependencies(runtime_configuration=form)
    assert {name.rpartition(".")[2] for name in asked.get_metric_names()} == {"unexpected_count", "row_count"}


@pytest.mark.parametrize("dataset", [None, "nothing"])
def test_nothing_to_check(warehouse, dataset):
    with pytest.raises(TableError):
        check(warehouse, Config(), dataset=dataset)
