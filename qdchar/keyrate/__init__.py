"""Secret key rates of single photons and of coherent light."""
