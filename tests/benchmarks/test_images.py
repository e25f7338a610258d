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


def test_ten_halves_are_the_same_files_by_other_names(tmp_path):
    images.generate(tmp_path / "files", 12)
    assert len({path.read_bytes() for path in (tmp_path / "files").iterdir()}) == 12
    images.again_and_again(tmp_path, 12)
    one, ten = (json.loads((tmp_path / name).read_text())["images"] for name in (images.HALF, images.TEN_HALVES))
    assert (len(one), len(ten)) == (6, 60)
    names = [record["file_name"] for record in ten]
    assert len(set(names)) == 60
    assert len({(tmp_path / "files" / name).read_bytes() for name in names}) == 6
