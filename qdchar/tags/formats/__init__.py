"""Files of time tags and histograms: one module a format."""
