"""The key of measured counts.

`key` computes it, `file` reads a session's counts, `correction` holds what was disclosed.
"""
