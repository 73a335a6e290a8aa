"""Published key rates, and how closely the formulas here reproduce them.

`values` holds the published numbers, `variants` what the papers leave open, `morrison_pousa` the
two papers of one group, `reproduction` the table of all, `figures` the figures of Zhang et al.
"""
