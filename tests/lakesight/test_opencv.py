"""OpenCV works in the thread that calls it, where images are read."""

import subprocess
import sys

READS = """
import cv2, io, numpy as np, pyarrow as pa
from PIL import Image
from features.collate import Collate
before = cv2.getNumThreads()
file = io.BytesIO()
Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG")
row = {"image_id": 1, "height": 8, "width": 8, "annotations": [], "content": file.getvalue()}
Collate((16, 16))(pa.Table.from_pylist([row]))
print(before, cv2.getNumThreads())
"""


def test_a_process_that_reads_batches_has_one_thread_for_opencv():
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=True)
    before, after = done.stdout.split()
    assert (int(before) >= 1, after) == (True, "1")
