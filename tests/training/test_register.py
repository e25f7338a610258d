"""The registry: registering twice, promoting, every way to name a model, and what a wrong name says."""

import io
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lakesight import delta
from lakesight.errors import UserError
from training import fit, tracking
from training.architectures import build_network
from training.classes import Category
from training.export import export
from training.pyfunc import COLUMNS
from training.register import promote, register, resolve


def test_registering_a_run_twice_gives_the_same_version(trained, quick_config):
    for run_id in (None, trained.report.run_id):
        again = register(trained.warehouse, run_id=run_id)
        assert (again.name, again.version) == ("detector", trained.version.version)


@pytest.mark.parametrize("ref", ["detector", "detector@champion", "detector/1"])
def test_names_resolve_to_the_version(trained, ref):
    found = resolve(trained.warehouse, ref)
    assert (found.name, found.version, found.uri) == ("detector", "1", "models:/detector/1")


def test_a_run_id_resolves_to_the_runs_model(trained):
    found = resolve(trained.warehouse, trained.report.run_id)
    assert (found.name, found.version, found.uri) == ("detector", trained.report.run_id, trained.report.model_uri)


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("detektor", "one of detector"),
        ("detector@best", "one of champion"),
        ("detector/7", "one of 1"),
        ("train-20200101T000000-000000", "one of detector"),
    ],
)
def test_a_wrong_name_says_what_there_is(trained, ref, message):
    with pytest.raises(UserError, match=message):
        resolve(trained.warehouse, ref)


def test_a_run_that_is_not_there_says_which_are(trained):
    with pytest.raises(UserError, match=trained.report.run_id):
        register(trained.warehouse, run_id="train-none")


def test_before_any_training_the_message_says_to_train(warehouse):
    with pytest.raises(UserError, match="lakesight train"):
        register(warehouse)
    with pytest.raises(UserError, match="there is none yet"):
        promote(warehouse, name="detector")


def test_an_alias_can_be_any_name(trained):
    assert set(promote(trained.warehouse, name="detector", version="1", alias="night").aliases) == {"champion", "night"}
    assert resolve(trained.warehouse, "detector@night").version == "1"


def test_the_registered_model_scores_images_and_survives_bad_ones(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    tracking.connect(trained.warehouse)
    model = mlflow.pyfunc.load_model(resolve(trained.warehouse, "detector@champion").uri)
    good = delta.read(trained.warehouse, "images", columns=["content"])["content"][0].as_py()
    wide = io.BytesIO()
    Image.open(io.BytesIO(good)).resize((192, 96)).save(wide, "PNG")
    frame = pd.DataFrame({"image": [good, b"broken", wide.getvalue(), good]})
    found = model.predict(frame, params={"score_threshold": 0.0})
    assert list(found.columns) == list(COLUMNS)
    assert found["error"].notna().tolist() == [False, True, False, False]
    assert found["boxes"][1] == []
    assert found["scores"][0] == sorted(found["scores"][0], reverse=True)
    assert set(found["category_ids"][0]) <= {1, 2, 3}
    assert all(
        name == ("circle", "square", "triangle")[i]
        for name, i in zip(found["category_names"][0], found["labels"][0], strict=True)
    )
    np.testing.assert_allclose(found["scores"][0], found["scores"][3], rtol=1e-5)  # its place in the batch
    # Boxes are in pixels of the stored image: twice as wide for the stretched one.
    assert np.array(found["boxes"][2])[:, 0].max() > 96


def test_overlapping_boxes_can_be_left_out_when_asking(trained):
    tracking.connect(trained.warehouse)
    model = mlflow.pyfunc.load_model(resolve(trained.warehouse, "detector").uri)
    image = delta.read(trained.warehouse, "images", columns=["content"])["content"][0].as_py()
    frame = pd.DataFrame({"image": [image]})
    every, apart = (model.predict(frame, params={"score_threshold": 0.0} | more) for more in ({}, {"nms_iou": 0.01}))
    assert 0 < len(apart["scores"][0]) < len(every["scores"][0])


def test_the_default_threshold_is_the_configurations(trained, quick_config):
    tracking.connect(trained.warehouse)
    model = mlflow.pyfunc.load_model(resolve(trained.warehouse, "detector").uri)
    good = delta.read(trained.warehouse, "images", columns=["content"])["content"][0].as_py()
    (scores,) = model.predict(pd.DataFrame({"image": [good]}))["scores"]
    assert all(score >= quick_config.model.score_threshold for score in scores)


def test_a_step_that_was_kept_is_a_version_of_its_own(shapes_warehouse, quick_config, tmp_path, monkeypatch):
    warehouse = shapes_warehouse()
    classes = [Category(i, i + 1, name) for i, name in enumerate(("circle", "square", "triangle"))]
    for folder in ("best", "early"):  # two networks, so that one can tell which was registered
        network = build_network(quick_config.model, quick_config.train, classes)
        export(network, tmp_path / folder, quick_config.model, classes)
    monkeypatch.setattr(fit, "_ray_train", lambda *_: ({"val_AP": 0.5, "step": 10.0}, tmp_path / "best"))
    report = fit.train(warehouse, quick_config, dataset="shapes")
    with pytest.raises(UserError, match=r"(?s)no network of step 5.*a run with train.keep_every"):
        register(warehouse, step=5)
    tracking.keep_network(tracking.tracking_uri(warehouse), report.mlflow_run_id, tmp_path / "early", 5)
    with pytest.raises(UserError, match=r"(?s)no network of step 7.*one of 5"):
        register(warehouse, step=7)
    best, early = register(warehouse), register(warehouse, step=5)
    assert (best.version, early.version) == ("1", "2")
    assert (register(warehouse).version, register(warehouse, step=5).version) == ("1", "2")
    assert (resolve(warehouse, "detector/1").run_id, resolve(warehouse, "detector/2").run_id) == (report.run_id, None)
    for version, folder in ((best, "best"), (early, "early")):
        place = mlflow.artifacts.download_artifacts(resolve(warehouse, f"detector/{version.version}").uri)
        (weights,) = Path(place).rglob("model.safetensors")
        assert weights.read_bytes() == (tmp_path / folder / "model.safetensors").read_bytes()


def test_the_artifact_holds_no_pickle(trained):
    folder = trained.warehouse.state("mlartifacts")
    assert not [path for path in folder.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".bin", ".ckpt"}]
    assert list(folder.rglob("model.safetensors"))
