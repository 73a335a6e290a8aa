"""The lab at work: station, session, run, recipe, calibration and verdict."""
