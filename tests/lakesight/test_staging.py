"""Staging folders: gone after the run, kept while another run lives, removed when it has died."""

import multiprocessing
import threading
from contextlib import contextmanager

import pytest

from lakesight import staging as module
from lakesight.staging import alone, staging


def test_gone_after_the_run_and_after_a_failure(warehouse):
    with staging(warehouse, "run-1") as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()
    with pytest.raises(ValueError, match="no"), staging(warehouse, "run-2") as folder:
        raise ValueError("no")
    assert not folder.exists()


def test_a_live_run_is_left_alone_and_a_dead_one_removed(warehouse):
    with staging(warehouse, "alive") as alive:
        dead = alive.with_name("dead")
        dead.mkdir()
        (dead / "file").write_text("x")
        with staging(warehouse, "other"):
            assert alive.exists()
            assert not dead.exists()
    assert [path.name for path in alive.parent.iterdir()] == [".lock"]


def _enter(warehouse, entered):
    with alone(warehouse, "ingest shapes"):
        entered.set()


def test_one_at_a_time(warehouse):
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    with alone(warehouse, "ingest shapes"):
        process = context.Process(target=_enter, args=(warehouse, entered))
        process.start()
        assert not entered.wait(3)
        with alone(warehouse, "ingest other"):
            pass
    assert entered.wait(20)
    process.join()


def test_who_waits_says_so(warehouse, monkeypatch):
    waiting, labels = threading.Event(), []

    @contextmanager
    def told(label):
        labels.append(label)
        waiting.set()
        yield

    def enter():
        with alone(warehouse, "ingest shapes"):
            labels.append("entered")

    monkeypatch.setattr(module, "step", told)
    other = threading.Thread(target=enter)
    with alone(warehouse, "ingest shapes"):
        other.start()
        assert waiting.wait(60)
    other.join(60)
    assert labels == ["Waiting for another process: ingest shapes", "entered"]
