"""A server that ends under a verb: one message within a minute; one that still listens keeps PySpark's patience."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from pyspark.sql.connect.client.retries import DefaultPolicy

from lakesight import connect
from lakesight.connect import ServerGone
from lakesight.errors import SetupError

PARK = "java_method('java.util.concurrent.locks.LockSupport', 'parkNanos', {} * 1000000L)"
ASLEEP = f"SELECT {PARK.format(30_000)} FROM range(0, 1)"
ENDLESS = f"SELECT max(slept) FROM (SELECT {PARK.format(50)} AS slept FROM range(0, 1000000000, 1, 1))"
"""Asleep for the most part: what waits for its server to end does not take the cores from what ends it."""
IMPATIENT = """
import sys
from lakesight import connect
connect.PINGS[:2] = [("grpc.keepalive_time_ms", 4000), ("grpc.keepalive_timeout_ms", 2000)]
connect.PINGS[2] = ("grpc.http2.ping_timeout_ms", 2000)
connect.PATIENCE_S = 2.0
from lakesight.cli.app import main
main()
"""


class Relay:
    """A way to a port of this machine which, once it is stalled, takes everything and hands on nothing."""

    def __init__(self, port):
        self.stalled = threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.open = [self.listening]
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port):
        while True:
            try:
                ends = self.listening.accept()[0], socket.create_connection(("127.0.0.1", port))
            except OSError:  # closed
                return
            self.open += ends
            for source, sink in (ends, ends[::-1]):
                threading.Thread(target=self._hand_on, args=(source, sink), daemon=True).start()

    def _hand_on(self, source, sink):
        try:
            while data := source.recv(65536):
                if not self.stalled.is_set():
                    sink.sendall(data)
        except OSError:  # closed
            pass

    def close(self):
        for one in self.open:
            one.close()


@pytest.mark.slow
def test_a_server_that_is_out_of_reach_without_a_word(server):
    relay = Relay(server.connect_port)
    command = [sys.executable, "-c", IMPATIENT, "sql", ASLEEP, "--root", str(server.warehouse.root)]
    command += ["--set", f"spark.remote=sc://127.0.0.1:{relay.port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as verb:
        while not connected(relay.port):
            assert verb.poll() is None, verb.stderr.read()
            time.sleep(0.1)
        time.sleep(5)  # into the statement
        relay.stalled.set()
        stderr = verb.communicate(timeout=90)[1]
    relay.close()
    assert verb.returncode == 2, stderr
    assert stderr.startswith("error: the Spark Connect server is gone: who listens there does not answer within 5 s")
    assert len(stderr.splitlines()) == 4, "one message"


def jvm_of(process):
    (jvm,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(jvm)


def connected(port):
    """Whether a client is connected to a port of this machine."""
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return any(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def end_under_a_verb(how, process, server, threads):
    """Start a verb that does not end and then end its server; the server, when it ended, and the verb: what came of it, and when."""
    verb = threads.submit(lambda: (server.run("sql", ENDLESS), time.monotonic()))
    while not connected(server.connect_port):
        assert not verb.done(), verb.result()
        time.sleep(0.1)
    time.sleep(5)  # into the statement: its end is not near
    ended = time.monotonic()
    os.kill(jvm_of(process) if how == signal.SIGKILL else process.pid, how)
    return server, ended, verb


@pytest.mark.slow
def test_a_server_that_ends_under_a_verb(serving, tmp_path):
    """By either signal. The first verb is patient while the second server starts."""
    with ThreadPoolExecutor() as threads, ExitStack() as servers:
        ends = []
        for how in (signal.SIGKILL, signal.SIGTERM):
            started = servers.enter_context(serving(tmp_path / how.name))
            ends.append(end_under_a_verb(how, *started, threads))
        for server, ended, verb in ends:
            done, at = verb.result()
            assert (done.returncode, at - ended < 90) == (2, True), done.stderr
            assert done.stderr.startswith("error: the Spark Connect server is gone: ")
            assert server.connect in done.stderr
            assert len(done.stderr.splitlines()) == 4, "one message"


@contextmanager
def answering():
    """The address of a server that has no services."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"sc://127.0.0.1:{port}"
    server.stop(None).wait()


def test_who_answers_is_waited_for_as_pyspark_does(monkeypatch):
    monkeypatch.setattr(connect, "PATIENCE_S", -1.0)
    with answering() as address:
        policy = ServerGone(address)
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
    with answering() as policy.address:
        policy.to_state().next_attempt()
    assert policy.since is None
