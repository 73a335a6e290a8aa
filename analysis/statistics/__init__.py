"""Statistics that every analysis shares: likelihood, profiles, intervals, jackknife."""
