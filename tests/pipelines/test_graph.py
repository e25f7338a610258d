"""The sources as Databricks imports them: the graph they build for each format, and the bundle that names them."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from pyspark import pipelines as dp
from pyspark.pipelines.graph_element_registry import GraphElementRegistry, graph_element_registration_context

import pipelines
from lakesight.cli.app import app
from lakesight.errors import ConfigError
from lakesight.spark import conf
from lakesight.sql import views
from lakesight.tables import TABLES
from pipelines.arrivals import KNOWN, settings
from pipelines.rules import expectations

TRANSFORMATIONS = Path(pipelines.__file__).parent / "transformations"
ROOT = Path(__file__).parents[2]
LAYERS = {
    "image_files", "annotation_files", "image_records", "annotation_records", "category_records", "image_facts",
    "images_candidates", "categories_candidates", "annotations_candidates", "images_accepted", "categories_accepted",
    "annotations_accepted", "images", "image_properties", "categories", "annotations", "quarantine", "class_balance",
    "image_quality", "quarantine_reasons",
}  # fmt: skip
FURTHER = {
    "coco": set(),
    "voc": {"label_rows", "category_names", "image_set_stems", "image_sets"},
    "yolo": {"label_rows", "category_names", "list_lines"},
}

DASHBOARD = {"display_name", "file_path", "warehouse_id", "dataset_catalog", "dataset_schema", "embed_credentials"}
"""Of a dashboard in a bundle, all by the names of its schema (`databricks bundle schema`)."""


class Graph(GraphElementRegistry):
    """What the sources register: the kind of each dataset, and what is dropped from it."""

    def __init__(self):
        self.kinds, self.flows, self.dropped = {}, [], {}

    def register_output(self, output):
        self.kinds[output.name] = type(output).__name__

    def register_flow(self, flow):
        self.flows.append(flow.name)

    def register_auto_cdc_flow(self, flow):
        raise AssertionError(flow)

    def register_sql(self, sql_text, file_path):
        raise AssertionError(file_path)

    def expect_all_or_drop(self, stated):
        """As on Databricks: a decorator, by description and constraint of each expectation."""

        def decorate(query):
            self.dropped[query.__name__] = stated
            return query

        return decorate


@pytest.fixture(params=FURTHER)
def graph(request, spark, tmp_path, monkeypatch):
    """The format, and what the sources register where there are expectations."""
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    built = Graph()
    monkeypatch.setattr(dp, "expect_all_or_drop", built.expect_all_or_drop, raising=False)
    stated = {"lakesight.source": str(tmp_path), "lakesight.dataset": "d", "lakesight.format": request.param}
    with conf(spark, stated), graph_element_registration_context(built):
        for path in sorted(TRANSFORMATIONS.glob("*.py")):
            spec = importlib.util.spec_from_file_location(f"transformations_{path.stem}", path)
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return request.param, built


def test_every_format_has_the_same_layers(graph):
    format_, built = graph
    assert set(built.kinds) == LAYERS | FURTHER[format_]
    assert set(built.flows) == set(built.kinds)
    streams = {name for name, kind in built.kinds.items() if kind == "StreamingTable"}
    records = {"image_records", "annotation_records", "category_records"} if format_ == "coco" else set()
    assert streams == {"image_files", "annotation_files", "image_facts"} | records


def test_expectations_drop_what_breaks_a_rule(graph):
    tables = ("images", "categories", "annotations")
    assert graph[1].dropped == {f"{table}_accepted": expectations(table) for table in tables}


@pytest.mark.parametrize(
    ("stated", "message"),
    [({}, "lakesight.source: None"), ({"lakesight.format": "tfrecord"}, "lakesight.format: tfrecord")],
)
def test_a_wrong_configuration_says_what_is_wrong(spark, stated, message):
    whole = {"lakesight.source": "/x", "lakesight.dataset": "d", "lakesight.format": "coco"} if stated else {}
    with conf(spark, whole | stated), pytest.raises(ConfigError, match=message):
        settings(spark)


@pytest.fixture(scope="module")
def bundle():
    """(databricks.yml, its resources)."""
    main = yaml.safe_load((ROOT / "databricks.yml").read_text())
    included = [path for pattern in main["include"] for path in sorted(ROOT.glob(pattern))]
    return main, [(path, yaml.safe_load(path.read_text())["resources"]) for path in included]


def test_the_bundle_speaks_of_what_is_there(bundle):
    main, resources = bundle
    texts = "".join(path.read_text() for path, _ in resources)
    assert set(re.findall(r"\$\{var\.(\w+)\}", texts)) == set(main["variables"])
    ((path, ingest),) = [(path, found["pipelines"]["ingest"]) for path, found in resources if "pipelines" in found]
    (library,) = ingest["libraries"]
    assert (path.parent / library["glob"]["include"].removesuffix("/**")).resolve() == TRANSFORMATIONS
    needed = {f"lakesight.{name}" for name, (default, _) in KNOWN.items() if default is None}
    assert set(ingest["configuration"]) == needed


def test_the_bundle_has_every_dashboard_over_the_pipelines_schema(bundle):
    ((path, dashboards),) = [(path, found["dashboards"]) for path, found in bundle[1] if "dashboards" in found]
    files = {(path.parent / one["file_path"]).resolve() for one in dashboards.values()}
    assert files == {*(ROOT / "dashboards").glob("*.lvdash.json")}
    (ingest,) = [found["pipelines"]["ingest"] for _, found in bundle[1] if "pipelines" in found]
    for one in dashboards.values():
        assert set(one) == DASHBOARD
        assert (one["dataset_catalog"], one["dataset_schema"]) == (ingest["catalog"], ingest["schema"])


def test_the_documentation_names_the_tiles_that_the_pipeline_answers():
    files = (ROOT / "dashboards").glob("*.lvdash.json")
    tiles = {
        one["displayName"]: "".join(one["queryLines"]) for f in files for one in json.loads(f.read_text())["datasets"]
    }
    known = {*TABLES, *views()}
    named = {tile: known & set(re.findall(r"\w+", re.sub(r"'.*?'", "", query))) for tile, query in tiles.items()}
    _, _, said = (ROOT / "docs/databricks.md").read_text().partition("What it writes answers ")
    said, rest, _ = said.partition("want views over the same tables")
    assert rest
    answered, _, viewed = said.partition("`. `")
    assert {*re.findall(r"\w+_\w+", answered)} == {tile for tile, names in named.items() if names <= LAYERS}
    of_images = {*LAYERS, "exact_duplicates", "near_duplicates", "split_leakage", "split_drift"}
    further = {tile for tile, names in named.items() if names <= of_images and not names <= LAYERS}
    assert {*re.findall(r"\w+", viewed)} - {"and"} == further


def test_the_job_runs_our_command_with_what_it_needs(bundle):
    (score,) = [found["jobs"]["score"] for _, found in bundle[1] if "jobs" in found]
    (task,) = score["tasks"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    command = task["python_wheel_task"]
    assert command["package_name"] == project["name"]
    assert command["entry_point"] in project["scripts"]
    packages = [library["pypi"]["package"] for library in task["libraries"] if "pypi" in library]
    assert packages == project["optional-dependencies"]["train"]

    verb, *options = command["parameters"]
    known = {name for option in typer.main.get_command(app).commands[verb].params for name in option.opts}
    assert set(options[::2]) <= known
