"""The COCO JSON benchmark, small: both sides do the same work."""

import pytest

from benchmarks import coco_json


@pytest.mark.slow
def test_both_sides_load_every_annotation(spark, tmp_path):
    result, memory, bounded, larger = coco_json.run(megabytes=0.3, repeats=1)
    assert (result.name, result.peer_name) == ("coco_json", "Spark multiLine, explicit schema")
    assert min(result.ours, result.peer) > 0
    assert result.ratio == pytest.approx(result.peer / result.ours)
    assert result.met == (result.ratio >= coco_json.GOAL)
    assert (memory.unit, bounded.unit, bounded.peer, larger.peer) == ("MB", "MB", 200, 200)
    assert 0 < min(bounded.ours, larger.ours) < memory.peer


def test_generated_files_are_reproducible(tmp_path):
    count = coco_json.generate(tmp_path / "a.json", 0.05)
    assert coco_json.generate(tmp_path / "b.json", 0.05) == count
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert 0.05e6 <= (tmp_path / "a.json").stat().st_size <= 0.08e6
