"""MLflow's own web page over a root's runs, curves and models. `lakesight mlflow`."""

import socket
import subprocess
import sys

from lakesight.errors import SetupError
from lakesight.warehouse import Warehouse
from training.tracking import tracking_uri


def serve(warehouse: Warehouse, port: int) -> int:
    """Serve on 127.0.0.1 until interrupted; the exit code.

    Raises:
        SetupError: somebody has the port.
    """
    _claim(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.run([*command, "--backend-store-uri", tracking_uri(warehouse)], check=False).returncode


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
