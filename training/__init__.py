"""A pinned `samples` version -> a trained, tuned, registered DETR-family detector."""
