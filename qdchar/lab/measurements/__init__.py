"""One module a measurement: what it declares, and how protocol and analysis are joined."""
