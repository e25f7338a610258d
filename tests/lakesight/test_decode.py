"""Bytes -> pixels, and what stands alone in the registered model does the same."""

import io

import numpy as np
import pytest
from PIL import Image

from features.resize import resize
from lakesight.decode import DecodeError, decode
from training import pyfunc


def pixels(height=20, width=30, channels=3):
    ramp = np.linspace(0, 255, height * width * channels).astype(np.uint8)
    return ramp.reshape(height, width, channels)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = Image.fromarray(pixels())
FILES = {
    "jpeg": encoded(RGB, "JPEG", quality=95),
    "jpeg_420": encoded(RGB, "JPEG", subsampling=2),
    "jpeg_progressive": encoded(RGB, "JPEG", progressive=True),
    "jpeg_gray": encoded(RGB.convert("L"), "JPEG"),
    "jpeg_cmyk": encoded(RGB.convert("CMYK"), "JPEG"),
    "png": encoded(RGB, "PNG"),
    "png_alpha": encoded(RGB.convert("RGBA"), "PNG"),
    "png_palette": encoded(RGB.convert("P"), "PNG"),
    "png_16_bit": encoded(Image.fromarray(pixels(channels=1)[..., 0].astype(np.uint16) * 257), "PNG"),
    "png_1_bit": encoded(RGB.convert("1"), "PNG"),
    "gif": encoded(RGB, "GIF"),
    "bmp": encoded(RGB, "BMP"),
    "webp": encoded(RGB, "WEBP"),
    "tiff_float": encoded(Image.fromarray(pixels(channels=1)[..., 0].astype(np.float32)), "TIFF"),
    "tiff_float_to_1": encoded(Image.fromarray(pixels(channels=1)[..., 0].astype(np.float32) / 255), "TIFF"),
    "tiff_float_to_65535": encoded(Image.fromarray(pixels(channels=1)[..., 0].astype(np.float32) * 257), "TIFF"),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_every_kind_of_file_becomes_rgb_bytes(content):
    image = decode(content)
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("kind", ["jpeg", "jpeg_420", "jpeg_progressive", "png", "bmp"])
def test_pixels_are_pillows(kind):
    assert np.array_equal(decode(FILES[kind]), np.asarray(Image.open(io.BytesIO(FILES[kind])).convert("RGB")))


def test_alpha_is_dropped():
    assert np.array_equal(decode(FILES["png_alpha"]), pixels())


def test_sixteen_bits_keep_their_upper_eight():
    assert np.array_equal(decode(FILES["png_16_bit"])[..., 0], pixels(channels=1)[..., 0])


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats_are_on_the_smallest_scale_that_holds_them(white):
    gray = pixels(channels=1)[..., 0]
    found = decode(encoded(Image.fromarray((gray / 255 * white).astype(np.float32)), "TIFF"))[..., 0]
    assert np.abs(found.astype(int) - gray).max() <= 1
    assert (found[0, 0], found[-1, -1]) == (0, 255)


def test_floats_that_are_no_numbers_are_black():
    gray = np.array([[0.5, np.nan, np.inf, -np.inf, -3]], np.float32)
    assert decode(encoded(Image.fromarray(gray), "TIFF"))[0, :, 0].tolist() == [127, 0, 0, 0, 0]


def test_exif_orientation_is_left_alone():
    exif = Image.Exif()
    exif[274] = 6  # rotate by 90 degrees to view
    assert decode(encoded(RGB, "JPEG", exif=exif)).shape == (20, 30, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", FILES["jpeg"][:-200], FILES["png"][:60], FILES["jpeg"][:100]],
    ids=["empty", "text", "truncated jpeg", "truncated png", "jpeg header"],
)
def test_what_cannot_be_decoded_is_one_kind_of_error(content):
    with pytest.raises(DecodeError):
        decode(content)


@pytest.mark.parametrize("size", [8, 16, 64])
@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_the_registered_models_copy_is_bit_equal(content, size):
    assert np.array_equal(pyfunc.resize(pyfunc.decode(content), (size, size)), resize(decode(content), size, size))


def test_resizing_to_the_same_size_is_nothing():
    image = pixels(16, 16)
    assert resize(image, 16, 16) is image


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["hostile/images", "coco/permissive"])
def test_real_files_decode_as_pillow_or_are_refused_as_by_the_model(data, folder):
    files = sorted(path for path in (data / folder).rglob("*") if path.suffix not in {".json", ".csv", ".txt", ".md"})
    assert len(files) > 100
    refused = 0
    for path in filter(lambda path: path.is_file() and path.stat().st_size < 2**20, files):
        content = path.read_bytes()
        try:
            image = decode(content)
        except DecodeError:
            refused += 1
            assert pyfunc._try_decode(content)[0] is None, path
        else:
            assert np.array_equal(pyfunc.decode(content), image), path
    assert (refused > 20) == (folder == "hostile/images")
