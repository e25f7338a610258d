"""The image benchmark, small: both sides take every file, and memory is compared with a tenth of them."""

import json

import pytest

from benchmarks import images


@pytest.mark.slow
def test_both_sides_take_every_image(spark, tmp_path):
    first, again, memory = images.run(num_images=20, repeats=1)
    assert [first.name, again.name, memory.name] == ["images", "images_again", "images_memory"]
    assert min(first.ours, first.peer, again.ours) > 0
    assert (memory.unit, memory.met) == ("MB", memory.ratio >= images.BOUNDED)
    assert min(memory.ours, memory.peer) > 100  # a JVM is in it


def test_a_tenth_lists_the_first_of_the_files(tmp_path):
    images.generate(tmp_path / "files", 12)
    listed = [json.loads((tmp_path / name).read_text())["images"] for name in (images.ANNOTATIONS, images.TENTH)]
    assert [len(records) for records in listed] == [12, 2]
    assert listed[0][:2] == listed[1]
    assert len({path.read_bytes() for path in (tmp_path / "files").iterdir()}) == 12
