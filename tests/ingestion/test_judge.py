"""Candidates are judged in Spark; where there are none, the answer is of the same shape."""

from ingestion.candidates import category_candidates
from ingestion.judge import judge
from ingestion.records import CATEGORY_RECORDS, records_table


def test_no_candidates_are_judged_as_some_are(spark, tmp_path):
    rows = [{"category_id": 1, "name": "cat"}, {"category_id": 1, "name": "dog"}]
    some = category_candidates(records_table(CATEGORY_RECORDS, rows))
    accepted, refused = judge(spark, "categories", some, tmp_path / "some")
    assert (accepted["name"].to_pylist(), refused.num_rows) == (["cat"], 1)
    none = judge(spark, "categories", some.slice(0, 0), tmp_path / "none")
    assert [table.num_rows for table in none] == [0, 0]
    assert [table.column_names for table in none] == [accepted.column_names, refused.column_names]
    keys = [{field.name for field in table["errors"].type.value_type} for table in (none[1], refused)]
    assert keys[0] == keys[1]
