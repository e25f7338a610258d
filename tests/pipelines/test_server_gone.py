"""A server that ends under `lakesight pipeline`: its update is not waited for."""

import pytest

from lakesight import connect
from lakesight.errors import SetupError
from pipelines import run
from pipelines.run import Pipeline, lay_out


def test_an_update_without_its_server_ends(warehouse, tmp_path, monkeypatch):
    monkeypatch.setattr(connect, "PATIENCE_S", 1.0)
    monkeypatch.setattr(run, "LOOK_EVERY_S", 0.5)
    warehouse.state("logs").mkdir(exist_ok=True)
    spec = lay_out(warehouse, Pipeline(tmp_path, "shapes"))
    with pytest.raises(SetupError, match="the Spark Connect server is gone"):
        run._update(warehouse, "sc://127.0.0.1:1", spec, full_refresh=False)
