"""The evaluation benchmark on a small case: it refuses to time numbers that differ, and states its ratio."""

from benchmarks import evaluation


def test_runs_and_states_what_it_compared():
    (result,) = evaluation.run(num_images=20, repeats=2)
    assert (result.name, result.peer_name, result.goal) == ("evaluation", "pycocotools", 15.0)
    assert result.ratio == result.peer / result.ours
    assert result.met == (result.ratio >= result.goal)
    assert "800 boxes on 20 images" in result.what
