"""Published key rates, and how closely the formulas here reproduce them."""
