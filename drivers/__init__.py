"""Drivers: one file an instrument model, and the simulated lab in `twin`.

The contract of a driver is in `qdchar.roles`. A new driver is one file here and its test, or a file
of your own beside the station file, with no edit in the package. `thorlabs_pm100` is a short
example. What a driver can use, if it likes:

- `_instrument`: open, close, `with` and the identity of a SCPI instrument, written once.
- `_scpi.ScpiLine`: SCPI over a TCP socket; `_line.Line`: any other text protocol. They bound the
  time of every exchange, reconnect for queries only, and make the error messages.
- `_arguments`: checks of the constructor's arguments, and of set points against limits.
- `_ramp`: the limits of a voltage axis, and ramps in small steps.

`tests/drivers/test_instrument.py` is a suite that every driver has to pass.
"""
