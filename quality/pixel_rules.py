"""Rules of `image_properties`: what the pixels of an image say, and which others look like it (pure)."""

from lakesight.sections import CheckConfig
from quality.rule import Rule


def pixel_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of `image_properties`."""
    return (*_light(config), *_detail(config), *_look_alikes(config))


def _light(config: CheckConfig) -> tuple[Rule, ...]:
    return (
        Rule(
            name="image_not_blank",
            table="image_properties",
            column="contrast",
            predicate=f"contrast >= {config.min_contrast!r}D",
            severity="warn",
            message="luma hardly varies: the image is one colour",
            fix="look at the image; a covered lens or a broken export looks like this",
        ),
        Rule(
            name="image_not_dark",
            table="image_properties",
            column="brightness",
            predicate=f"brightness >= {config.min_brightness!r}D",
            severity="info",
            message="the image is almost black",
            fix="look at the image",
        ),
        Rule(
            name="image_not_bright",
            table="image_properties",
            column="brightness",
            predicate=f"brightness <= {config.max_brightness!r}D",
            severity="info",
            message="the image is almost white",
            fix="look at the image; an over-exposed or empty page looks like this",
        ),
    )


def _detail(config: CheckConfig) -> tuple[Rule, ...]:
    return (
        Rule(
            name="image_not_blurry",
            table="image_properties",
            column="sharpness",
            predicate=f"sharpness >= {config.min_sharpness!r}D",
            severity="info",
            message="the image has hardly an edge: out of focus, moved, or enlarged",
            fix="look at the image; leave it out if its boxes are guesses",
        ),
        Rule(
            name="image_informative",
            table="image_properties",
            column="entropy",
            predicate=f"entropy >= {config.min_entropy!r}D",
            severity="info",
            message="the image has few grey levels: a drawing, a mask, or a broken export",
            fix="look at the image",
        ),
        Rule(
            name="image_in_colour",
            table="image_properties",
            column="colorfulness",
            predicate="colorfulness > 0",
            severity="info",
            message="the image is grey",
            fix="nothing, if the camera is; else find out which step lost the colour",
        ),
    )


def _look_alikes(config: CheckConfig) -> tuple[Rule, ...]:
    bits = config.near_duplicate_bits
    return (
        Rule(
            name="image_look_unique",
            table="image_properties",
            column="dhash",
            predicate=f"near_distance > {bits}",
            severity="warn",
            message="the image looks like an earlier one of the data set: a copy, or the next frame of a film",
            fix="keep one of them; see the view `near_duplicates`",
            observed="concat('image ', near_duplicate_of, ', ', near_distance, ' bits apart')",
        ),
        Rule(
            name="image_look_split_leak",
            table="image_properties",
            column="dhash",
            predicate=f"near_split_distance > {bits}",
            severity="warn",
            message="an image of another split looks the same",
            fix="keep look-alikes in one split: scores on the other are too good; see the view `split_leakage`",
            observed="near_split",
        ),
    )
