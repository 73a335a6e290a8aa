"""The simulated lab: one physical state behind real wire protocols on loopback sockets."""
