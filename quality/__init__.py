"""Rules, quarantine, evaluation and drift maths, as rows in Delta tables."""
