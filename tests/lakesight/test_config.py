"""Configuration: precedence, and every way a user can get it wrong."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest

from lakesight import config, sections
from lakesight.errors import ConfigError

ROOT = Path(__file__).parents[2]
PACKAGES = ("lakesight", "ingestion", "quality", "features", "training", "serving", "pipelines")
SOURCES = "\n".join(
    path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "sections.py"
)
KEYS = [
    f"{section}.{field.name}"
    for section, kind in typing.get_type_hints(config.Config).items()
    for field in dataclasses.fields(kind)
]
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_defaults_then_file_then_set(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("train: {steps: 7, lr: 1e-2}\n")
    loaded = config.load(file, ["train.steps=9", "monitor.slices=[a, b]"])
    assert (loaded.train.steps, loaded.train.lr, loaded.train.batch_size) == (9, 0.01, 16)
    assert loaded.monitor.slices == ("a", "b")


def is_read(key):
    """Whether the code has it, as `config.train.lr`, `settings.lr`, `train.lr` or `self._train.lr`."""
    section, name = key.split(".")
    return re.search(rf"\b(self\._)?(config|settings|limits|{section})\.{name}\b", SOURCES)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_read(key):
    assert is_read(key)


def test_the_test_above_can_fail():
    assert not is_read("train.momentum")


def test_round_trip():
    loaded = config.load(None, ["model.config.d_model=64", "train.lr=3e-4"])
    assert config.load_dict(config.to_dict(loaded)) == loaded
    assert config.replace(loaded, {"train.lr": 0.5}).train.lr == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {stepz: 3}", "unknown configuration key train.stepz"),
        ("trian: {steps: 3}", "unknown configuration key trian"),
        ("spark: {conf: {'': x}}", "'' is no name of a Spark conf"),
        ("train: {steps: many}", "Expected `int`"),
        ("train: {steps: 0}", "steps must be positive"),
        ("model: {nms_iou: 0}", "nms_iou must be in"),
        ("train: 3", "is not a mapping"),
        ("[1, 2]", "is not a mapping"),
        ("a: b: c", "not YAML"),
        ("check: {fail_on: sometimes}", "Invalid enum value"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load(file)


def test_suggestion_names_the_key():
    with pytest.raises(ConfigError, match=r"did you mean train\.steps"):
        config.load(None, ["train.stepz=3"])


@pytest.mark.parametrize(
    "override", ["train", "train=3", "train.steps", ".steps=3", "train.steps=[1", "spark.conf.=x", "spark.conf. =x"]
)
def test_wrong_overrides(override):
    with pytest.raises(ConfigError):
        config.load(None, [override])


def test_a_spark_conf_by_set_keeps_its_dots_and_is_text():
    sets = ["spark.conf.spark.sql.ansi.enabled=false", "spark.conf.spark.executor.cores=2"]
    assert config.load(None, sets).spark.conf == {"spark.sql.ansi.enabled": "false", "spark.executor.cores": "2"}
    assert config.load(None, ["spark.conf={spark.executor.cores: '4'}"]).spark.conf == {"spark.executor.cores": "4"}


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_load_and_state_cost_and_result(path):
    header = "\n".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert config.load(path)
    assert "cost" in header.lower()
    assert "result" in header.lower()


def test_what_runs_record_has_every_field():
    stated = config.to_dict(config.load(None, ["train.steps=7"]))
    assert stated == config.to_dict(config.Config(train=sections.TrainConfig(steps=7)))
    assert stated["augment"]["horizontal_flip"] == 0.5


def test_a_word_that_is_none_of_the_choices_says_which_there_are():
    with pytest.raises(ConfigError, match=r"one of error, warn, never"):
        config.load(None, ["check.fail_on=warning"])
