"""MLflow's own web page over a root's runs, curves and models. `lakesight mlflow`."""

import os
import signal
import socket
import subprocess
import sys

from lakesight.errors import SetupError
from lakesight.warehouse import Warehouse
from training.tracking import tracking_uri

ALONE = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""One reader needs no job queues, which MLflow starts in processes of their own; nor its four servers."""


def serve(warehouse: Warehouse, port: int) -> int:
    """Serve on 127.0.0.1 until Ctrl-C or SIGTERM; the exit code.

    Raises:
        SetupError: somebody has the port.
    """
    _claim(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", tracking_uri(warehouse), "--workers", "1"]
    # A session of its own: Ctrl-C would reach each of MLflow's processes, and each would print where it was.
    process = subprocess.Popen(command, env=ALONE | os.environ, start_new_session=True)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _claim(port: int) -> None:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SetupError(
                f"port {port} is in use",
                where=f"127.0.0.1:{port}",
                expected="a free port",
                fix=f"stop what listens there, or choose another: --port {port + 1}",
            ) from error
