"""The way back: tables at a version -> files of COCO, Pascal VOC, YOLO, or Parquet for Petastorm."""
