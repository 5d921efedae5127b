"""Hyper-parameter search: what may vary, a study that is kept in a database, its results."""
