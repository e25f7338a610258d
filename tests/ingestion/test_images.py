"""Image bytes -> facts, figures or a reason."""

import csv
import io
import os
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from PIL import Image

from ingestion.images import Facts, inspect
from ingestion.read_images import read_one
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


FIXED_POINT = 1e-4
"""OpenCV has luma in fixed point: of some thousand pixels, one rounds the other way."""


def test_figures_agree_with_their_definitions():
    image = noise()
    found = inspect(encode(image), LIMIT)
    luma = (np.asarray(image, dtype=np.float64) @ (0.299, 0.587, 0.114)).round()
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    counts = np.bincount(luma.astype(int).ravel(), minlength=256)
    share = counts[counts > 0] / luma.size
    red, green, blue = np.moveaxis(np.asarray(image, dtype=np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    colour = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert found.brightness == pytest.approx(luma.mean(), rel=FIXED_POINT)
    assert found.contrast == pytest.approx(luma.std(), rel=FIXED_POINT)
    assert found.sharpness == pytest.approx(laplacian.var(), rel=FIXED_POINT)
    assert found.entropy == pytest.approx(-(share * np.log2(share)).sum(), rel=FIXED_POINT)
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
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "not_an_image"),
        (encode(noise(), "JPEG")[:900], "truncated"),
        (encode(noise())[:900], "truncated"),
        (encode(noise())[:20], "truncated"),
        (encode(noise()).replace(b"IHDR", b"IHDX"), "corrupt"),
        (bitmap_header(300_000, 300_000), "bomb"),
        (bitmap_header(0, 5) + b"rest", "zero_size"),
        (encode(Image.new("L", (1, 1)), "GIF")[:6] + bytes(10), "zero_size"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08free", "unsupported"),
        (b"\xff\x0a" + bytes(90), "unsupported"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(90), "not_an_image"),
        (b"RIFF\x58\0\0\0WAVE" + bytes(90), "not_an_image"),
        (encode(noise(), "EPS"), "unsupported"),
        (bitmap_header(4, 4)[:28] + struct.pack("<H", 77) + bytes(60), "unsupported"),
        (encode(noise(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "unsupported"),
        (encode(noise(), "JPEG").replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"), "unsupported"),
        (encode(noise(), "JPEG").replace(b"\xff\xc0\0\x11", b"\xff\xc0\0\x10"), "corrupt"),
    ],
)
def test_refusals_begin_with_a_code(content, code):
    found = inspect(content, LIMIT)
    assert isinstance(found, Refusal)
    assert found.code == code, found
    assert found.reason.startswith(f"{code}: ")


CONTAINERS = [("WEBP", {}), ("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_lzw"}), ("AVIF", {}),
              ("TIFF", {"compression": "jpeg"}), ("JPEG2000", {}), ("GIF", {}), ("QOI", {}), ("JPEG", {}),
              ("JPEG", {"exif": b"Exif\0\0" + bytes(300), "progressive": True}), ("BMP", {}), ("PPM", {}),
              ("PNG", {"icc_profile": bytes(range(256))})]  # fmt: skip


@pytest.mark.parametrize(("format", "options"), CONTAINERS, ids=lambda value: str(value))
def test_a_file_that_was_cut_anywhere_is_truncated(format, options):
    content = encode(noise(), format, **options)
    assert isinstance(inspect(content, LIMIT), Facts)
    tenths = (len(content) * tenth // 10 for tenth in range(1, 10))
    for end in (*range(16, 200, 7), *tenths, *range(len(content) - 99, len(content) - 20, 7)):
        found = inspect(content[:end], LIMIT)
        assert isinstance(found, Refusal), end
        assert found.code == "truncated", (end, found)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(extra):
    """A 4 x 4 PNG with a chunk more."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(52)))
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


def test_compressed_text_that_explodes_is_a_bomb():
    text = zlib.compress(bytes(8 << 20), 9)
    for kind, start in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        found = inspect(png_with(chunk(kind, start + text)), LIMIT)
        assert isinstance(found, Refusal), kind
        assert found.code == "bomb", found
    assert isinstance(inspect(png_with(b""), LIMIT), Facts)


def scans_of(content, times):
    """The same JPEG with its scans repeated."""
    first = content.index(b"\xff\xda")
    return content[:first] + content[first:-2] * times + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
def test_scans_without_end_are_a_bomb(progressive):
    content = encode(noise(), "JPEG", progressive=progressive)
    found = inspect(scans_of(content, 101), LIMIT)
    assert isinstance(found, Refusal)
    assert found.reason.startswith("bomb: its pixels come in")
    assert isinstance(inspect(scans_of(content, 2), LIMIT), Facts) or not progressive  # one scan is all, else
    # What follows the end, or is data of another kind, is no scan.
    assert isinstance(inspect(content + b"\xff\xda" * 999, LIMIT), Facts)
    comment = b"\xff\xfe" + struct.pack(">H", 2002) + b"\xff\xda" * 1000
    assert isinstance(inspect(content[:2] + comment + content[2:], LIMIT), Facts)


@pytest.mark.parametrize("pages", [1, 3, 1200])
def test_pages_of_a_tiff_are_counted_up_to_a_thousand(pages):
    found = inspect(tiff_of_pages(pages), LIMIT)
    assert isinstance(found, Facts)
    assert found.num_frames == min(pages, 1000)


def tiff_of_pages(pages):
    """4 x 4 pixels; all pages are the same, each with a directory of its own."""
    content = encode(Image.new("L", (4, 4)), "TIFF")
    (at,) = struct.unpack("<I", content[4:8])
    (entries,) = struct.unpack("<H", content[at : at + 2])
    directory = content[at : at + 2 + 12 * entries]
    out = bytearray(content + b"\0" * (len(content) % 2))
    link = at + len(directory)  # where the number of the next directory's place is
    for _ in range(pages - 1):
        out[link : link + 4] = struct.pack("<I", len(out))
        out += directory + bytes(4)
        link = len(out) - 4
    return bytes(out)


def test_what_does_not_fit_into_memory_is_a_bomb():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000_000, 1, 1, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(12_500_001)))
    found = inspect(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""), 2**30)
    assert found == Refusal("bomb", "its pixels do not fit into memory")


def jpeg_of_size(width, height):
    content = encode(noise(), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def tiff_of_size(width, height, order):
    """Uncompressed, 8 bits."""
    tags = ((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (279, 4, 100))
    values = [struct.pack(order + ("I" if kind == 4 else "Hxx"), value) for _, kind, value in tags]
    entries = [struct.pack(order + "HHI", tag, kind, 1) + v for (tag, kind, _), v in zip(tags, values, strict=True)]
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags))
    return start + b"".join(entries) + bytes(304)


@pytest.mark.parametrize("make", [jpeg_of_size, partial(tiff_of_size, order="<"), partial(tiff_of_size, order=">")])
def test_no_pixels_and_too_many_by_the_header(make):
    for width, height in ((0, 40), (60, 0)):
        found = inspect(make(width, height), LIMIT)
        assert isinstance(found, Refusal)
        assert found == Refusal("zero_size", f"its header states {width} x {height} pixels")
    assert inspect(make(60_000, 60_000), LIMIT).code == "bomb"
    assert isinstance(inspect(make(4, 4), LIMIT), Facts)


def test_a_flat_photoshop_file_has_one_frame():
    found = inspect(b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + bytes(114), LIMIT)
    assert isinstance(found, Facts), found
    assert (found.num_frames, found.format) == (1, "PSD")


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


@pytest.mark.parametrize(
    ("make", "why"),
    [(os.mkfifo, "it is no file"), (os.mkdir, "it is no file"), (lambda path: path, "no such file")],
    ids=["pipe", "folder", "nothing"],
)
def test_what_is_not_there_or_no_file_is_not_opened(make, why, tmp_path):
    path = tmp_path / "a.jpg"
    make(path)
    assert read_one(str(path), None, LIMIT) == {"unreadable": f"{path}: {why}"}
