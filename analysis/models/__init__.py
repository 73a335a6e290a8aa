"""Physical models that several analyses fit: line shapes, decays, Rabi rotation."""
