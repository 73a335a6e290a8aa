"""Key lengths from the counts of a measured session."""
