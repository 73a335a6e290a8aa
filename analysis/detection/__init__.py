"""What detectors and pulse clock do to a count: dead time, live gating, blinking."""
