"""The page of offending images: self-contained, boxes drawn, hostile names harmless."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from quality.gallery_page import Box, Picture, Section, page, thumbnail


def encode(width, height, format="PNG"):
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, format)
    return out.getvalue()


def section(**picture):
    picture = {"name": "a.png", "observed": "3", "content": encode(800, 400)} | picture
    return Section(rule="r", severity="warn", message="m", fix="f", count=7, pictures=(Picture(**picture),))


def test_a_thumbnail_of_16_bits_shows_its_shades():
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), 30_000, dtype=np.uint16)).save(out, "PNG")
    data, width, height = thumbnail(out.getvalue(), 10**6)
    assert (width, height) == (8, 8)
    assert Image.open(io.BytesIO(data)).getpixel((4, 4)) == pytest.approx((117, 117, 117), abs=2)


def test_a_page_needs_nothing_else_and_draws_boxes_in_stored_pixels():
    boxes = (Box((1, 2, 30, 40), bad=False), Box((5, 6, 0, 8), bad=True), Box((0, 0, float("nan"), 1), bad=True))
    text = page("t", [section(boxes=boxes, quarantined=True)], 10**6)
    assert 'viewBox="0 0 800 400"' in text
    assert '<rect x="1" y="2" width="30" height="40"/>' in text
    assert text.count('class="bad"') == 1
    assert "nan" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    (data,) = re.findall(r"base64,([^\"]+)", text)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (320, 160)


def test_what_users_wrote_is_escaped():
    text = page("<t>", [section(name="<script>alert(1)</script>", observed='"><b>')], 10**6)
    assert "<script>" not in text
    assert '"><b>' not in text


@pytest.mark.parametrize("content", [b"no image", encode(8, 8)[:40], encode(2000, 1000)])
def test_what_cannot_be_decoded_is_shown_without_picture(content):
    assert thumbnail(content, 10**6) is None
    assert "no picture to show" in page("t", [section(content=content)], 10**6)
