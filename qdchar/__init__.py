"""Characterize quantum-dot single-photon sources and predict their QKD key rate.

In a notebook, start with `load_run` for a run folder, `measure` for one measurement on a station,
`predict` for a key rate, and ``qdchar.analysis.NAME.analyse_file`` for one file. The command line
is `qdchar`.

Examples
--------
>>> import qdchar
>>> run = qdchar.load_run("runs/2026-11-23T051207Z_QD7_calibrate_ab12cd")  # doctest: +SKIP
>>> run.verdict, run.rabi.quantities["pi_power"]  # doctest: +SKIP
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

from .lazy_names import lazy_names as _lazy_names

if _TYPE_CHECKING:
    # only names of ground: with those of the roof, all modules would be one cycle for mypy
    from .estimate import Contribution, Estimate
    from .fit import Curve, Fit, Result
    from .history import history_table, load_history
    from .keyrate import KeyRate, predict
    from .link import Link, load_link
    from .raw_data import Scan, TagRun, read_scan
    from .record import SourceRecord, load_record
    from .tables import estimates_table, key_rate_table
    from .tags import TagArrays, open_tags
    from .verdict import Verdict

__version__ = "0.1.0"

_HOME = {
    "Contribution": "estimate",
    "Curve": "fit",
    "Estimate": "estimate",
    "Fit": "fit",
    "KeyRate": "keyrate",
    "Link": "link",
    "LoadedRun": "lab.loaded_run",
    "LoadedStep": "lab.loaded_run",
    "Result": "fit",
    "Scan": "raw_data",
    "SourceRecord": "record",
    "Station": "lab.station",
    "TagArrays": "tags",
    "TagRun": "raw_data",
    "Verdict": "verdict",
    "analysis": "",
    "drivers": "",
    "estimates_table": "tables",
    "exchange": "",
    "history_table": "history",
    "key_rate_table": "tables",
    "keyrate": "",
    "lab": "",
    "load_history": "history",
    "load_link": "link",
    "load_record": "record",
    "load_run": "lab.loaded_run",
    "load_station": "lab.station",
    "measure": "lab.single_measurement",
    "open_tags": "tags",
    "predict": "keyrate",
    "protocols": "",
    "read_scan": "raw_data",
    "report": "",
    "simulated_station": "lab.simulated_station",
    "tags": "",
}

__all__ = [
    "Contribution",
    "Curve",
    "Estimate",
    "Fit",
    "KeyRate",
    "Link",
    "LoadedRun",
    "LoadedStep",
    "Result",
    "Scan",
    "SourceRecord",
    "Station",
    "TagArrays",
    "TagRun",
    "Verdict",
    "__version__",
    "analysis",
    "drivers",
    "estimates_table",
    "exchange",
    "history_table",
    "key_rate_table",
    "keyrate",
    "lab",
    "load_history",
    "load_link",
    "load_record",
    "load_run",
    "load_station",
    "measure",
    "open_tags",
    "predict",
    "protocols",
    "read_scan",
    "report",
    "simulated_station",
    "tags",
]

# In a bare clone `drivers`, `protocols` and `analysis` stand beside this folder;
# installed, they are sub-packages of it. Either way they are imported as `qdchar.drivers` ...
_root = _Path(__file__).parents[1]
if (_root / "protocols" / "__init__.py").exists():
    __path__.append(str(_root))

__getattr__, __dir__ = _lazy_names(__name__, _HOME)
