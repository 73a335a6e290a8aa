"""Decoy states: coherent light, and single photons behind an attenuator."""
