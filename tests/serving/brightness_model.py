"""A real pyfunc, logged as code: one box an image, as sure as the image is bright; bad images have an error."""

import io
import os
import time

import mlflow
from PIL import Image, ImageStat


class Brightness(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        time.sleep(float(os.environ.get("BRIGHTNESS_DELAY_S", "0")))
        return [_one(content) for content in model_input["image"]]


def _one(content):
    found = {"boxes": [], "scores": [], "labels": [], "category_ids": [], "category_names": []}
    try:
        image = Image.open(io.BytesIO(content)).convert("L")
    except OSError:
        return found | {"error": "not an image"}
    score = ImageStat.Stat(image).mean[0] / 255
    box = {"boxes": [[1.0, 2.0, 30.0, 40.0]], "scores": [score], "labels": [0], "category_ids": [1]}
    return found | box | {"category_names": ["circle"], "error": None}


mlflow.models.set_model(Brightness())
