"""Light and colour of a picture (pure)."""

import cv2
import numpy as np

from lakesight.decode import Pixels
from lakesight.sections import AugmentConfig


def jitter(pixels: Pixels, rng: np.random.Generator, config: AugmentConfig) -> Pixels:
    """[H, W, 3] RGB with brightness, contrast, saturation and hue drawn anew; what is 0 costs and changes nothing."""
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * (
        config.brightness,
        config.contrast,
        config.saturation,
        config.hue,
    )
    if config.brightness or config.contrast:
        levels = (np.arange(256) - 127.5) * (1 + contrast) + 127.5 + 255 * brightness
        pixels = cv2.LUT(pixels, np.clip(levels.round(), 0, 255).astype(np.uint8))  # type: ignore[assignment]  # cv2 does not say uint8
    if config.saturation or config.hue:
        hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2HSV_FULL)
        table = np.empty((1, 256, 3), np.uint8)
        steps = np.arange(256)
        table[0, :, 0] = (steps + round(256 * hue)) % 256
        table[0, :, 1] = np.clip(steps * (1 + saturation), 0, 255).round()
        table[0, :, 2] = steps
        pixels = cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB_FULL)  # type: ignore[assignment]  # cv2 does not say uint8
    return pixels
