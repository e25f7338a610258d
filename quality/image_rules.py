"""Rules of `images` (pure)."""

from lakesight.sections import CheckConfig
from quality.rule import Rule, parsed, unique

SUFFIXES = {
    "jpg": ("JPEG", "MPO"), "jpeg": ("JPEG", "MPO"), "jpe": ("JPEG", "MPO"), "png": ("PNG",), "gif": ("GIF",),
    "bmp": ("BMP", "DIB"), "tif": ("TIFF",), "tiff": ("TIFF",), "webp": ("WEBP",), "jp2": ("JPEG2000",),
}  # fmt: skip
"""Endings of file names -> the formats, by Pillow's names, that go by them; MPO is a JPEG with further frames."""
_FORMATS = ", ".join(f"'{suffix}', array({str(names).strip('(),')})" for suffix, names in SUFFIXES.items())
_SUFFIX = "lower(regexp_extract(file_name, '[.]([^.]+)$'))"
_ALPHA = "('RGBA', 'RGBa', 'LA', 'La', 'PA')"


def image_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of `images`."""
    return (*IMAGE_RULES, *FORMAT_RULES, *_sizes(config), *_boxes(config))


IMAGE_RULES = (
    parsed("images", "image_record_valid"),
    unique("images", "image_id_unique", "image_id"),
    Rule(
        name="image_file_exists",
        table="images",
        column="file_name",
        predicate="refused_by <> 'image_file_exists'",
        severity="error",
        message="the file cannot be read",
        fix="put the file into the image folder and ingest again",
        observed="refused_because",
    ),
    Rule(
        name="image_decodes",
        table="images",
        column="content",
        predicate="refused_by <> 'image_decodes'",
        severity="error",
        message="the bytes do not decode to an image",
        fix="replace the file by a whole one and ingest again",
        observed="refused_because",
    ),
    Rule(
        name="image_size_as_stated",
        table="images",
        column="width",
        predicate="stated_width = width AND stated_height = height",
        severity="error",
        message="the annotation file states another size than the image has: its boxes are in another frame",
        fix="state the size of the stored pixels (before EXIF orientation) and put the boxes into that frame",
        observed="concat(stated_width, ' x ', stated_height, ' stated, ', width, ' x ', height, ' decoded')",
    ),
    Rule(
        name="image_unique",
        table="images",
        column="sha256",
        predicate="duplicate_of IS NULL",
        severity="error",
        message="the data set has the same file already, under the image_id observed",
        fix="drop the copy from the annotation file, its annotations moved to the image that stays",
        observed="duplicate_of",
    ),
    Rule(
        name="image_pixels_unique",
        table="images",
        column="pixel_hash",
        # Not an error: files that differ may decode to the same 8-bit RGB, as of other depth or palette.
        predicate="same_pixels_as IS NULL",
        severity="warn",
        message="another file of the data set has the same pixels, under the image_id observed",
        fix="keep one of them, unless they are meant to be two; `exact_duplicates` lists them",
        observed="same_pixels_as",
    ),
    Rule(
        name="image_split_leak",
        table="images",
        column="split",
        predicate="num_splits <= 1",
        severity="warn",
        message="the same pixels are in more than one split, here or in another data set",
        fix="keep an image in one split only: scores on the other are too good",
        observed="concat(num_splits, ' splits')",
    ),
    Rule(
        name="image_upright",
        table="images",
        column="exif_orientation",
        predicate="exif_orientation = 1",
        severity="info",
        message="EXIF asks viewers to turn the image; its boxes count in stored pixels",
        fix="make sure that the boxes were drawn on the image as it is stored",
    ),
    Rule(
        name="image_has_annotations",
        table="images",
        column="image_id",
        predicate="num_annotations > 0",
        severity="info",
        message="the image has no annotations",
        fix="nothing, if there is nothing to find on it; else annotate it",
    ),
)

FORMAT_RULES = (
    Rule(
        name="image_format_as_named",
        table="images",
        column="format",
        predicate=f"array_contains(try_element_at(map({_FORMATS}), {_SUFFIX}), format)",
        severity="warn",
        message="the file is of another format than its name says: readers that go by the name fail",
        fix="rename the file, or convert it",
        observed="concat(file_name, ': ', format)",
    ),
    Rule(
        name="image_not_cmyk",
        table="images",
        column="mode",
        predicate="mode <> 'CMYK'",
        severity="warn",
        message="the image is in printing colours; decoders differ in how they make RGB of them",
        fix="convert the file to RGB",
    ),
    Rule(
        name="image_eight_bits",
        table="images",
        column="mode",
        predicate="mode NOT LIKE 'I%' AND mode <> 'F'",
        severity="warn",
        message="a pixel has more than 8 bits: what models see is cut to 8",
        fix="scale the pixels to 8 bits in the way that suits the sensor",
    ),
    Rule(
        name="image_opaque",
        table="images",
        column="mode",
        predicate=f"mode NOT IN {_ALPHA}",
        severity="warn",
        message="the image has an alpha channel, which is dropped: what was transparent becomes visible",
        fix="flatten the image onto its background",
    ),
    Rule(
        name="image_single_frame",
        table="images",
        column="num_frames",
        predicate="num_frames = 1 OR format = 'MPO'",
        severity="warn",
        message="the file has several frames or pages; only the first is used",
        fix="export the frame that was annotated",
    ),
    Rule(
        name="image_file_name_unique",
        table="images",
        column="file_name",
        predicate="num_same_name <= 1",
        severity="warn",
        message="the split has several images of this file name",
        fix="check that both records mean the file that they name",
        observed="concat(file_name, ': ', num_same_name)",
    ),
)


def _sizes(config: CheckConfig) -> tuple[Rule, ...]:
    size = "concat(width, ' x ', height)"
    return (
        Rule(
            name="image_large_enough",
            table="images",
            column="width",
            predicate=f"least(width, height) >= {config.min_image_side}",
            severity="warn",
            message=f"a side of the image is below {config.min_image_side} pixels",
            fix="look whether it is a thumbnail; ingest the original",
            observed=size,
        ),
        Rule(
            name="image_small_enough",
            table="images",
            column="width",
            predicate=f"CAST(width AS BIGINT) * height <= {config.max_image_pixels}",
            severity="warn",
            message=f"the image has more than {config.max_image_pixels} pixels: memory to decode, detail to resize",
            fix="cut it into tiles",
            observed=size,
        ),
        Rule(
            name="image_aspect_usual",
            table="images",
            column="width",
            predicate=f"least(width, height) >= {config.min_aspect!r}D * greatest(width, height)",
            severity="warn",
            message="the image is very narrow: resizing to a square distorts what is on it",
            fix="cut it, or leave it out",
            observed=size,
        ),
    )


def _boxes(config: CheckConfig) -> tuple[Rule, ...]:
    return (
        Rule(
            name="image_boxes_fit",
            table="images",
            column="image_id",
            predicate=f"num_annotations <= {config.max_image_boxes}",
            severity="warn",
            message=f"more than {config.max_image_boxes} annotations: a detector with as many queries misses the rest",
            fix="raise num_queries of the model (and check.max_image_boxes), or cut the image into tiles",
            observed="num_annotations",
        ),
    )
