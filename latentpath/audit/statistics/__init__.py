"""Intervals, sampling error and ROC figures, for every measure."""
