"""Single photons without decoy states.

`finite_key` computes the key of a block's counts and says what it assumes; `rate` predicts the
counts on a link and finds the best settings.
"""
