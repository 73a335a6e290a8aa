"""Photon time tags: files, kernels, clock."""
