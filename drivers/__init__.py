"""Drivers: one file an instrument model, and the simulated lab in `twin`."""
