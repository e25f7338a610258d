"""A batch -> a contact sheet: the pictures as the model sees them, with what is marked on them (pure)."""

import colorsys
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from features.collate import Batch
from lakesight.boxes import cxcywh_to_xywh, xywh_to_xyxy
from lakesight.decode import Pixels

TILE = 320
"""Side of a picture on the sheet, pixels, at least: what the model sees may be too small to look at."""
CAPTION = 18
GAP = 6
WHITE = (255, 255, 255)


def contact_sheet(batch: Batch, names: Sequence[str]) -> Pixels:
    """[H, W, 3]; `names`: of the classes, by label. Above each picture: its image_id, number of boxes, and class."""
    tiles = [_tile(batch, number, names) for number in range(len(batch.image_ids))]
    height, width = tiles[0].shape[:2]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = (
            GAP + place * (side + GAP) for place, side in zip(divmod(number, columns), (height, width), strict=True)
        )
        sheet[y : y + height, x : x + width] = tile
    return sheet


def _tile(batch: Batch, number: int, names: Sequence[str]) -> Pixels:
    pixels, labels = batch.pixels[number].numpy(), batch.labels[number]
    scale = max(math.ceil(TILE / min(pixels.shape[:2])), 1)
    pixels = np.ascontiguousarray(pixels).repeat(scale, axis=0).repeat(scale, axis=1)
    classes = labels["class_labels"].tolist()
    for mask, label in zip(labels["masks"].numpy() if "masks" in labels else (), classes, strict=False):
        there = mask.repeat(scale, axis=0).repeat(scale, axis=1) > 0
        pixels[there] = cv2.addWeighted(pixels, 0.5, np.full_like(pixels, colour(label)), 0.5, 0)[there]
    height, width = pixels.shape[:2]
    image = Image.new("RGB", (width, height + CAPTION), WHITE)
    image.paste(Image.fromarray(pixels), (0, CAPTION))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    whole = [names[a["label"]] for a in batch.annotations[number] if a["bbox"] is None]
    what = ", ".join([f"{len(classes)} boxes"] * bool(classes or not whole) + whole)
    draw.text((2, 1), f"{batch.image_ids[number]}: {what}", fill=(0, 0, 0), font=font)
    boxes = xywh_to_xyxy(cxcywh_to_xywh(labels["boxes"].numpy(), height, width))
    for (left, y, right, end), label in zip(boxes.tolist(), classes, strict=True):
        top, bottom = y + CAPTION, end + CAPTION
        draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour(label), width=2)
        _name(draw, font, (left, max(top - 15, CAPTION)), names[label], colour(label))
    for x, y, visible in labels["keypoints"].reshape(-1, 3).tolist() if "keypoints" in labels else ():
        if visible:
            draw.circle((x * width, y * height + CAPTION), 3, fill=(255, 255, 0), outline=(0, 0, 0))
    return np.asarray(image)


def _name(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[float, float],
    text: str,
    fill: tuple[int, int, int],
) -> None:
    draw.rectangle(draw.textbbox(corner, text, font=font), fill=fill)
    draw.text(corner, text, fill=WHITE, font=font)


def colour(label: int) -> tuple[int, int, int]:
    """RGB of a class: hues by the golden ratio, so that neighbours differ; dark enough for white text."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.9, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
