"""Single photons without decoy states: asymptotic rate and finite key."""
