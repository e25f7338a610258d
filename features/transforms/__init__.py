"""Pixels, boxes, masks and keypoints of one image, moved together (pure); `augment.augmented` puts it in order."""
