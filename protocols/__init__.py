"""Protocols: one file a measurement; they ask the station for roles, never for a driver."""
