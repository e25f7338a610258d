"""Image bytes -> facts, figures or a reason."""

import csv
import io
import struct

import numpy as np
import pytest
from PIL import Image

from ingestion.images import Facts, inspect
from ingestion.refusal import Refusal

LIMIT = 178_956_970


def encode(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def noise(height=40, width=60, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


@pytest.mark.realdata
def test_hostile_images_are_as_the_manifest_says(data):
    rows = list(csv.DictReader((data / "hostile/MANIFEST.csv").open()))
    assert len(rows) == 135
    for row in rows:
        found = inspect((data / "hostile/images" / row["file"]).read_bytes(), LIMIT)
        assert isinstance(found, Facts) == (row["outcome_with_pillow_13"] == "ok"), (row, found)


@pytest.mark.realdata
def test_pngsuite_has_13_broken_files(data):
    refused = [
        p for p in (data / "hostile/pngsuite").rglob("*.png") if isinstance(inspect(p.read_bytes(), LIMIT), Refusal)
    ]
    assert len(refused) == 13
    assert all(p.name.startswith("x") for p in refused)


def test_facts_of_a_plain_image():
    found = inspect(encode(Image.new("RGB", (8, 4), (128, 128, 128))), LIMIT)
    assert isinstance(found, Facts)
    assert (found.width, found.height, found.format, found.mode, found.exif_orientation) == (8, 4, "PNG", "RGB", 1)
    figures = (found.brightness, found.contrast, found.sharpness, found.entropy, found.colorfulness)
    assert figures == (128.0, 0.0, 0.0, 0.0, 0.0)
    assert (found.aspect_ratio, found.dhash) == (2.0, "0" * 16)


def test_figures_agree_with_their_definitions():
    image = noise()
    found = inspect(encode(image), LIMIT)
    luma = np.asarray(image.convert("L"), dtype=np.float64)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    counts = np.bincount(luma.astype(int).ravel(), minlength=256)
    share = counts[counts > 0] / luma.size
    red, green, blue = np.moveaxis(np.asarray(image, dtype=np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    colour = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert found.brightness == pytest.approx(luma.mean())
    assert found.contrast == pytest.approx(luma.std())
    assert found.sharpness == pytest.approx(laplacian.var())
    assert found.entropy == pytest.approx(-(share * np.log2(share)).sum())
    assert found.colorfulness == pytest.approx(colour)


def test_pixel_hash_looks_through_encoding_and_at_shape():
    image = noise()
    png, bmp = inspect(encode(image), LIMIT), inspect(encode(image, "BMP"), LIMIT)
    assert png.pixel_hash == bmp.pixel_hash
    turned = inspect(encode(Image.frombytes("RGB", (40, 60), image.tobytes())), LIMIT)
    assert turned.pixel_hash != png.pixel_hash
    assert inspect(encode(noise(seed=1)), LIMIT).pixel_hash != png.pixel_hash


def test_exif_orientation_does_not_turn_the_pixels():
    exif = Image.Exif()
    exif[274] = 6
    found = inspect(encode(noise(), "JPEG", exif=exif), LIMIT)
    assert (found.exif_orientation, found.width, found.height) == (6, 60, 40)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1", "LA"])
def test_modes(mode):
    format = "TIFF" if mode == "CMYK" else "PNG"
    image = Image.new(mode, (5, 5)) if mode == "I;16" else noise().convert("L" if mode == "LA" else "RGB").convert(mode)
    found = inspect(encode(image, format), LIMIT)
    assert isinstance(found, Facts), found
    assert found.mode == mode


def test_too_many_pixels_are_refused_by_the_header():
    content = encode(Image.new("L", (1000, 1000)))
    assert inspect(content, 999_999) == Refusal("bomb", "1000 x 1000 pixels are more than ingest.max_pixels=999999")
    assert isinstance(inspect(content, 1_000_000), Facts)


def bitmap_header(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 1086, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"no image", "not_an_image"),
        (b"%PDF-1.7 and more", "not_an_image"),
        (encode(noise(), "JPEG")[:900], "truncated"),
        (encode(noise())[:900], "truncated"),
        (encode(noise())[:20], "truncated"),
        (encode(noise()).replace(b"IHDR", b"IHDX"), "corrupt"),
        (bitmap_header(300_000, 300_000), "bomb"),
        (bitmap_header(0, 5) + b"rest", "zero_size"),
        (encode(Image.new("L", (1, 1)), "GIF")[:6] + bytes(10), "zero_size"),
        (bitmap_header(4, 4)[:28] + struct.pack("<H", 77) + bytes(60), "unsupported"),
    ],
)
def test_refusals_begin_with_a_code(content, code):
    found = inspect(content, LIMIT)
    assert isinstance(found, Refusal)
    assert found.code == code, found
    assert found.reason.startswith(f"{code}: ")


def test_frames_are_counted_and_the_first_is_used():
    frames = [noise(seed=seed) for seed in range(3)]
    found = inspect(encode(frames[0], "PNG", save_all=True, append_images=frames[1:]), LIMIT)
    assert found.num_frames == 3
    assert found.pixel_hash == inspect(encode(frames[0]), LIMIT).pixel_hash
    assert inspect(encode(noise()), LIMIT).num_frames == 1


def test_one_pixel():
    found = inspect(encode(Image.new("RGB", (1, 1))), LIMIT)
    assert (found.sharpness, found.aspect_ratio) == (0.0, 1.0)


def test_16_bit_images_that_differ_have_different_pixels():
    shades = [Image.fromarray(np.full((4, 4), level, dtype=np.uint16)) for level in (1000, 30000, 60000)]
    found = [inspect(encode(shade), LIMIT) for shade in shades]
    assert len({facts.pixel_hash for facts in found}) == 3
    assert [facts.brightness for facts in found] == [3.0, 117.0, 234.0]


def test_figures_of_a_large_image_are_close_to_those_of_all_pixels():
    image = Image.fromarray(np.asarray(noise(800, 1200)) // 3)
    found = inspect(encode(image), LIMIT)
    luma = np.asarray(image.convert("L"), dtype=np.float64)
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    assert found.sharpness == pytest.approx(laplacian.var(), rel=0.02)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_has_the_pixels_that_pillow_sees(subsampling):
    content = encode(noise(), "JPEG", quality=80, subsampling=subsampling)
    again = encode(Image.open(io.BytesIO(content)).convert("RGB"))
    assert inspect(content, LIMIT).pixel_hash == inspect(again, LIMIT).pixel_hash
