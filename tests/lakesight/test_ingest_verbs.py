"""The `ingest` verbs, from the command line to the message."""

import pytest
from typer.testing import CliRunner

from lakesight.cli.app import app
from lakesight.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["voc", "--folder", "{0}", "--split-file", "{0}/a.txt", "--first-pixel", "0"], "ingest folders"),
        (["yolo", "--data", "{0}/data.yaml"], "data.yaml cannot be read"),
        (["folders", "--images", "{0}/cat"], "no image in a folder of a class"),
        (["tfrecord", "--folder", "{0}"], "there is no TFRecord file"),
        (["datumaro", "--format", "tf_detection_api", "--folder", "{0}"], "ingest tfrecord"),
        (["datumaro", "--format", "voc", "--folder", "{0}"], "ingest voc"),
        (["voc", "--folder", "{0}", "--split", " "], "empty name"),
    ],
)
def test_wrong_input_writes_nothing(tmp_path, arguments, message):
    (tmp_path / "in/cat").mkdir(parents=True)
    (tmp_path / "in/cat/a.jpg").touch()
    root = tmp_path / "root"
    given = [argument.format(tmp_path / "in") for argument in arguments]
    result = CliRunner().invoke(app, ["ingest", *given, "--dataset", "d", "--root", str(root)])
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)
    assert not root.exists()
