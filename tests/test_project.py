"""The project's own promises: what the wheel holds, what README and CI call, what stays out of the repository."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "lakesight",
    "ingestion",
    "quality",
    "features",
    "training",
    "serving",
    "dashboards",
    "configs",
    "pipelines",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return archive.namelist()


def test_wheel_holds_our_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_wheel_holds_the_data_files(wheel):
    assert "lakesight/log4j2.properties" in wheel
    assert {"dashboards/overview.lvdash.json", "dashboards/quality.lvdash.json"} <= set(wheel)
    assert {"quality/docs_templates/page.j2", "quality/docs_templates/page.css"} <= set(wheel)
    assert "dashboards/views/detections.sql" in wheel
    assert "configs/demo.yaml" in wheel
    assert "pipelines/spark-pipeline.yml" in wheel
    assert "pipelines/transformations/silver.py" in wheel


def test_help_is_instant():
    """No engine is imported before a verb needs it."""
    code = (
        "import sys, lakesight.cli.app\n"
        "slow = {'pyspark', 'ray', 'torch', 'mlflow', 'transformers', 'great_expectations', 'lightning', 'pandas'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_lock_covers_pyproject_and_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    for pin in ("pyspark==4.2.0", "delta-spark==4.4.0", "ray==2.60", "lightning==2.6", "mlflow==3.17"):
        assert pin in lock
    assert not re.search(r"https?://", lock)


def test_no_test_package_shadows_a_stage():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 80
