"""One module for each measurement: its declaration, and the call of protocol and analysis."""
