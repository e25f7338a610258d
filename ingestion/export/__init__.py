"""The way back: tables at a version -> files of COCO, Pascal VOC or YOLO."""
