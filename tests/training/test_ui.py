"""`lakesight mlflow`: it answers, and Ctrl-C, which reaches the whole process group of a shell, ends it quietly."""

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(page, process):
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return urlopen(page).status
        except OSError:
            time.sleep(0.5)
    return None


def test_the_page_is_served_until_ctrl_c(warehouse):
    port = free_port()
    command = [sys.executable, "-m", "lakesight", "mlflow", "--root", str(warehouse.root), "--port", str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert wait_for(f"http://127.0.0.1:{port}/", process) == 200
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert b"Traceback" not in said
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)), "MLflow is still there"
