"""Batch scoring and drift monitoring: registered models + `images` -> `predictions` and metrics."""
