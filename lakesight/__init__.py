"""Contracts every stage shares: tables, configuration, sessions, Delta access, errors, boxes."""
