"""The contact sheet: what a training step sees, drawn where it is; from the command line."""

import logging
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from features.collate import Batch
from features.sheet import CAPTION, GAP, colour, contact_sheet
from lakesight import delta
from lakesight.cli import app as cli


def test_everything_is_drawn_where_it_is():
    labels = {
        "boxes": torch.tensor([[0.5, 0.5, 0.5, 0.5]]),
        "class_labels": torch.tensor([1]),
        "masks": torch.zeros(1, 400, 400, dtype=torch.uint8),
        "keypoints": torch.tensor([[[0.1, 0.1, 2.0], [0.9, 0.1, 0.0]]]),
    }
    labels["masks"][0, 150:250, 150:250] = 1
    batch = Batch(torch.zeros(3, 400, 400, 3, dtype=torch.uint8), [labels] * 3, [7, 8, 9], [(400, 400)] * 3, [[]] * 3)
    sheet = contact_sheet(batch, ["cat", "dog"])
    assert sheet.shape == (2 * (400 + CAPTION + GAP) + GAP, 2 * (400 + GAP) + GAP, 3)
    picture = sheet[GAP + CAPTION : GAP + CAPTION + 400, GAP : GAP + 400]
    assert tuple(picture[299, 200]) == tuple(picture[200, 100]) == colour(1)
    assert np.abs(picture[200, 200].astype(int) - np.array(colour(1)) / 2).max() <= 1
    assert tuple(picture[40, 40]) == (255, 255, 0)
    assert tuple(picture[40, 360]) == (0, 0, 0)


def test_the_class_of_an_image_is_written_above_it():
    nothing = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)}
    pixels = torch.zeros(1, 400, 400, 3, dtype=torch.uint8)

    def caption(*annotations):
        return contact_sheet(Batch(pixels, [nothing], [7], [(400, 400)], [list(annotations)]), ["cat", "dog"])[:CAPTION]

    bare, cat, dog = caption(), caption({"label": 0, "bbox": None}), caption({"label": 1, "bbox": None})
    assert (cat != bare).any()
    assert (cat != dog).any()


@pytest.fixture(scope="module")
def warehouse(shapes_warehouse):
    return shapes_warehouse()


def show(monkeypatch, capsys, warehouse, *args):
    monkeypatch.setattr(sys, "argv", ["lakesight", "samples", "show", "--root", str(warehouse.root), *map(str, args)])
    handlers = logging.getLogger().handlers[:]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    logging.getLogger().handlers[:] = handlers
    return ended.value.code or 0, capsys.readouterr()


def test_from_the_command_line(warehouse, tmp_path, monkeypatch, capsys):
    before = delta.versions(warehouse, "samples")
    sheets = {}
    for name, more in {"first": (), "again": (), "later": ("--step", 3), "val": ("--split", "val")}.items():
        output = tmp_path / f"{name}.png"
        code, out = show(monkeypatch, capsys, warehouse, "--output", output, "--set", "train.batch_size=4", *more)
        assert (code, str(output) in out.out.replace("\n", "")) == (0, True)
        sheets[name] = np.asarray(Image.open(output))
    assert np.array_equal(sheets["first"], sheets["again"])
    assert not np.array_equal(sheets["first"], sheets["later"])
    assert delta.versions(warehouse, "samples") == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--split", "test"), "split 'test' of data set 'shapes' has no images"),
        (("--output", "/dev/null/a.png"), "cannot be written"),
    ],
    ids=["no such split", "no such folder"],
)
def test_wrong_input_is_one_message(warehouse, monkeypatch, capsys, args, message):
    code, out = show(monkeypatch, capsys, warehouse, *args)
    assert (code, message in out.err) == (2, True)
