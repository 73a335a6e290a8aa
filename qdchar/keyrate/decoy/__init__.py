"""Decoy states: coherent light, and single photons behind a switched attenuator.

`coherent` and `coherent_finite` hold coherent light without and with a finite block, from the
bounds in `coherent_bounds`. `attenuated_source` and `attenuated_source_finite` hold single photons
whose attenuator is switched, `linear_program` their bounds where pulses may hold three photons.
`finite_key` computes the key from counts per setting for both.
"""
