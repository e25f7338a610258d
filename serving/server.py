"""Spark glue: one JVM with JDBC (Thrift) and Spark Connect over the tables of a root: `lakesight server`.

The JVM owns a Derby metastore under the root, which only holds names: every table folder and every view of
`dashboards/views` is registered at each start, so that a metastore that is lost - or belongs to a root that was
moved - is made anew. The lock of the root is handed to the JVM: it is held as long as the JVM lives.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from lakesight import delta, sql
from lakesight.errors import SetupError
from lakesight.progress import step
from lakesight.sections import SparkConfig
from lakesight.spark import ROOT_KEY, check_java, jvm_conf, quote
from lakesight.warehouse import Warehouse, create_warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MAIN = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Addresses:
    """Where a server listens."""

    host: str
    jdbc_port: int
    connect_port: int

    @property
    def jdbc(self) -> str:
        """For beeline and JDBC drivers of Hive."""
        return f"jdbc:hive2://{self.host}:{self.jdbc_port}/lakesight"

    @property
    def connect(self) -> str:
        """For `SparkSession.builder.remote` and `spark.remote`."""
        return f"sc://{self.host}:{self.connect_port}"


def serve(root: Path, config: SparkConfig, at: Addresses, ready: Callable[[Addresses], None]) -> None:
    """Run a server until it is interrupted; `ready` is called when it is up.

    Raises:
        SetupError: see `running`; or the JVM ended by itself.
    """
    try:
        with running(root, config, at) as process:
            ready(at)
            code = process.wait()
    except KeyboardInterrupt:
        return
    raise SetupError(
        f"the server ended by itself, with exit code {code}",
        where=str(root / "logs" / "server.log"),
        fix="see the log; more memory is --set spark.driver_memory=4g",
    )


@contextmanager
def running(root: Path, config: SparkConfig, at: Addresses) -> "Iterator[subprocess.Popen[bytes]]":
    """A server's JVM, up and with all names registered; it ends with the block.

    Raises:
        SetupError: no Java, a port in use, a server on this root already, or a JVM that does not come up.
    """
    check_java()
    warehouse = create_warehouse(root)
    with _only_one(warehouse, at) as lock:
        for port in (at.jdbc_port, at.connect_port):
            _require_free(at.host, port)
        delta.create_tables(warehouse)
        _forget_moved(warehouse)
        log = warehouse.state("logs", "server.log")
        with step("Starting the server"), log.open("ab") as out:
            process = _start(warehouse, config, at, out, lock)
        try:
            with step("Registering tables and views"):
                _wait(process, at, log)
                _register(warehouse, at)
            yield process
        finally:
            _stop(process)


@contextmanager
def _only_one(warehouse: Warehouse, at: Addresses) -> Iterator[int]:
    """The lock of the root's server, as a file descriptor that the JVM inherits."""
    for folder in ("server", "logs"):
        warehouse.state(folder).mkdir(exist_ok=True)
    with warehouse.state("server", "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise SetupError(
                "a server runs on this root already",
                where=lock.read().strip() or str(warehouse.root),
                expected="one server a root: it owns the metastore",
                fix="connect to that one, or end it first",
            ) from error
        lock.truncate(0)
        lock.write(f"{at.jdbc}, {at.connect}, started by process {os.getpid()}")
        lock.flush()
        yield lock.fileno()


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SetupError(
                f"the server cannot listen: {error.strerror}",
                where=f"{host}:{port}",
                expected="an address of this machine and a free port",
                fix="choose other ones with --host, --port and --connect-port",
            ) from error


def _forget_moved(warehouse: Warehouse) -> None:
    """A metastore holds absolute paths: that of a root which was elsewhere is worth nothing."""
    note = warehouse.state("server", "root")
    if not note.exists() or note.read_text() != str(warehouse.root):
        shutil.rmtree(warehouse.state("server", "metastore"), ignore_errors=True)
        note.write_text(str(warehouse.root))


def _start(
    warehouse: Warehouse, config: SparkConfig, at: Addresses, out: IO[bytes], lock: int
) -> "subprocess.Popen[bytes]":
    import pyspark

    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-submit"), "--class", MAIN, "--master", config.master, "--name", "lakesight"]
    for key, value in _conf(warehouse, config, at).items():
        command += ["--conf", f"{key}={value}"]
    # Functions of ours that clients send run in the server's Python workers.
    ours = str(Path(__file__).parents[1])
    path = os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])
    places = {"SPARK_HOME": str(home), "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable}
    # The JVM's working folder is ours to choose: Hive and Derby leave files where they are started.
    return subprocess.Popen(
        [*command, "spark-internal"],
        env=os.environ | places | {"SPARK_LOCAL_IP": "127.0.0.1"},
        cwd=warehouse.state("server"),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=out,
        pass_fds=(lock,),
        start_new_session=True,  # Ctrl-C is for us, who then end it in order
    )


def _conf(warehouse: Warehouse, config: SparkConfig, at: Addresses) -> dict[str, str]:
    state = warehouse.state("server")
    conf = jvm_conf(warehouse, warehouse.state("logs", "server.log"), config)
    conf["spark.driver.extraJavaOptions"] += f" -Dderby.stream.error.file={warehouse.state('logs', 'derby.log')}"
    return conf | {
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": at.host,
        "spark.connect.grpc.binding.port": str(at.connect_port),
        "spark.hadoop.hive.server2.thrift.bind.host": at.host,
        "spark.hadoop.hive.server2.thrift.port": str(at.jdbc_port),
        "spark.hadoop.hive.exec.scratchdir": str(state / "scratch"),
        "spark.hadoop.hive.exec.local.scratchdir": str(state / "scratch-local"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={state / 'metastore'};create=true",
        "spark.sql.catalogImplementation": "hive",
        ROOT_KEY: str(warehouse.root),
    }


def _wait(process: "subprocess.Popen[bytes]", at: Addresses, log: Path) -> None:
    """Until both ports are open."""
    deadline = time.monotonic() + START_TIMEOUT_S
    for port in (at.connect_port, at.jdbc_port):
        while not _answers(at.host, port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SetupError(
                    "the server does not come up",
                    where=f"{log}: {log.read_text(errors='replace').strip()[-400:]}",
                    expected="a JVM that listens",
                    fix="see the log; spark.driver_memory and spark.conf are what it was started with",
                )
            time.sleep(0.1)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _register(warehouse: Warehouse, at: Addresses) -> None:
    from pyspark.sql.connect.session import SparkSession as RemoteSession

    # Not `pyspark.sql.SparkSession`, which refuses a remote session beside a local one.
    spark = cast("SparkSession", RemoteSession.builder.remote(at.connect).create())
    try:
        register_all(warehouse, spark)
    finally:
        spark.stop()


def register_all(warehouse: Warehouse, spark: "SparkSession") -> None:
    """Make every table folder `warehouse/<schema>.db/<table>` and every view known by name."""
    for folder in sorted(warehouse.state("warehouse").glob("*.db")):
        schema = folder.name.removesuffix(".db")
        known = sql.known_names(spark, schema)
        for table in sorted(log.parent for log in folder.glob("*/_delta_log")):
            if table.name not in known:
                spark.sql(f"CREATE TABLE `{schema}`.`{table.name}` USING delta LOCATION {quote(str(table))}")
    spark.sql(f"USE {warehouse.schema}")
    views = sql.views()
    for name in sql.mentioned(" ".join(views), views):
        if name in views:
            spark.sql(f"CREATE OR REPLACE VIEW {name} AS {views[name]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
