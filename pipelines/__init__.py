"""The ingest as a declarative pipeline: the same functions and rules, kept up to date by the engine."""
