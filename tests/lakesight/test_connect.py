"""A server that ends under a verb: one message within a minute; one that still listens keeps PySpark's patience."""

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyspark.sql.connect.client.retries import DefaultPolicy

from lakesight import connect
from lakesight.connect import ServerGone
from lakesight.errors import SetupError

ENDLESS = "SELECT count(*) FROM range(1000000) a JOIN range(1000000) b ON a.id % 7 <> b.id % 11"


def jvm_of(process):
    (jvm,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(jvm)


def connected(port):
    """Whether a client is connected to a port of this machine."""
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return any(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_under_a_verb(serving, tmp_path, how):
    with serving(tmp_path / "root") as (process, server), ThreadPoolExecutor() as threads:
        jvm = jvm_of(process)
        verb = threads.submit(server.run, "sql", ENDLESS)
        while not connected(server.connect_port):
            assert not verb.done(), verb.result()
            time.sleep(0.1)
        time.sleep(5)  # into the statement: its end is not near
        ended = time.monotonic()
        os.kill(jvm if how == signal.SIGKILL else process.pid, how)
        done = verb.result()
        assert (done.returncode, time.monotonic() - ended < 90) == (2, True), done.stderr
    assert done.stderr.startswith("error: the Spark Connect server is gone: ")
    assert server.connect in done.stderr
    assert len(done.stderr.splitlines()) == 4, "one message"


def test_who_listens_is_waited_for_as_pyspark_does(monkeypatch):
    monkeypatch.setattr(connect, "PATIENCE_S", -1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        policy = ServerGone(f"sc://127.0.0.1:{listening.getsockname()[1]}")
        ours, theirs = policy.to_state(), DefaultPolicy().to_state()
        for _ in range(3):  # later ones are shifted at random
            assert ours.next_attempt() == theirs.next_attempt()
    with pytest.raises(SetupError, match="the Spark Connect server is gone"):
        policy.to_state().next_attempt()


def test_all_calls_share_one_wait(monkeypatch):
    policy = ServerGone("sc://127.0.0.1:1")
    assert policy.to_state().next_attempt() == connect.BETWEEN_MS
    monkeypatch.setattr(connect, "PATIENCE_S", 0.0)
    with pytest.raises(SetupError, match="gone"):
        policy.to_state().next_attempt()


def test_a_server_that_is_back_has_the_whole_wait_again(monkeypatch):
    policy = ServerGone("sc://127.0.0.1:1")
    policy.to_state().next_attempt()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        policy.address = f"sc://127.0.0.1:{listening.getsockname()[1]}"
        policy.to_state().next_attempt()
    assert policy.since is None
