"""The server, asked as users ask it: JDBC's protocol, Spark Connect, and our own verbs from another process."""

import json
import os
import socket
import subprocess
import sys

import pytest

from lakesight import delta, shapes
from lakesight.sql import views
from lakesight.tables import TABLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ingested(server, tmp_path_factory):
    """A data set of 4 images, ingested through the server."""
    folder = tmp_path_factory.mktemp("served")
    file = shapes.write_coco(folder, split="train", num_images=4, seed=1)
    command = ["ingest", "coco", "--images", folder / "train", "--annotations", file, "--dataset", "served"]
    done = server.run(*command)
    assert done.returncode == 0, done.stderr
    return file


def _start(root, *args):
    command = [sys.executable, "-m", "lakesight", "server", "--root", str(root), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _thrift(server):
    from pyhive import hive

    return hive.connect("127.0.0.1", port=server.jdbc_port, auth="NONE", database="lakesight", username="any")


def test_it_says_how_to_connect(server):
    assert f"jdbc:hive2://127.0.0.1:{server.jdbc_port}/lakesight" in server.printed
    assert f'builder.remote("{server.connect}")' in server.printed


def test_every_table_and_view_is_known_by_name(server):
    names = {row["tableName"] for row in server.query("SHOW TABLES IN lakesight")}
    assert names >= TABLES.keys() | views().keys()


def test_thrift_sees_what_was_ingested(server, ingested):
    coco = json.loads(ingested.read_text())
    with _thrift(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), sum(size_bytes) FROM images WHERE dataset = 'served'")
        assert cursor.fetchone()[0] == 4
        cursor.execute("SELECT sum(boxes) FROM class_balance WHERE dataset = 'served'")
        assert cursor.fetchone() == (len(coco["annotations"]),)


def test_connect_reads_rows_that_delta_rs_wrote(server, ingested):
    rows = server.query("SELECT annotation_id, bbox FROM lakesight.annotations WHERE dataset = 'served'")
    expected = {a["id"]: a["bbox"] for a in json.loads(ingested.read_text())["annotations"]}
    assert {row["annotation_id"]: row["bbox"] for row in rows} == expected


def test_ingest_through_the_server_keeps_the_layout(server, ingested):
    assert all(unit.num_rows <= delta.ROWS_PER_GROUP for unit in delta.plan(server.warehouse, "images").units)
    assert not delta.open_table(server.warehouse, "images").protocol().writer_features


def test_sql_by_our_own_verb(server, ingested):
    done = server.run("sql", "SELECT count(*) AS n FROM images WHERE dataset = 'served'", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [{"n": 4}])


def test_a_table_made_by_name_is_found_by_its_path(server):
    server.query("CREATE TABLE lakesight.notes AS SELECT 1 AS id")
    assert (server.warehouse.root / "warehouse" / "lakesight.db" / "notes" / "_delta_log").is_dir()
    assert server.query("SELECT id FROM lakesight.notes") == [{"id": 1}]
    server.query("DROP TABLE lakesight.notes")


def test_a_second_server_on_the_root_is_refused(server):
    done = _start(server.warehouse.root, "--port", 1, "--connect-port", 2)
    assert done.returncode == 2
    assert "a server runs on this root already" in done.stderr
    assert server.connect in done.stderr


def test_a_port_in_use_is_refused(server, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _start(tmp_path / "root", "--port", port)
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert not (tmp_path / "root" / "warehouse").exists()


def test_another_root_is_refused(server, warehouse):
    command = [sys.executable, "-m", "lakesight", "sql", "SELECT 1", "--root", str(warehouse.root)]
    done = subprocess.run(
        [*command, "--set", f"spark.remote={server.connect}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert str(server.warehouse.root) in done.stderr


@pytest.mark.parametrize("address", ["sc://127.0.0.1:1", "127.0.0.1:15002"])
def test_no_server_is_one_message_at_once(warehouse, address):
    command = [sys.executable, "-m", "lakesight", "sql", "SELECT 1", "--root", str(warehouse.root)]
    done = subprocess.run([*command, "--set", f"spark.remote={address}"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no Spark Connect server answers" in done.stderr


def test_no_java(tmp_path):
    command = [sys.executable, "-m", "lakesight", "server", "--root", str(tmp_path / "root")]
    nowhere = os.environ | {"JAVA_HOME": "/nowhere"}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Spark needs Java" in done.stderr
