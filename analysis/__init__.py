"""Analyses: one file a measurement; from raw data to estimates with uncertainties."""
