"""The lab at work: station, session, run, recipe, calibration and verdict."""

from ..lazy_names import lazy_names

_HOME = {
    "LoadedRun": "loaded_run",
    "LoadedStep": "loaded_run",
    "Outcome": "outcome",
    "Recipe": "recipe",
    "Run": "run",
    "Session": "session",
    "Station": "station",
    "load_outcome": "outcome",
    "load_recipe": "recipe",
    "load_run": "loaded_run",
    "load_station": "station",
    "measure": "single_measurement",
    "read_steps": "run",
}

__all__ = [
    "LoadedRun",
    "LoadedStep",
    "Outcome",
    "Recipe",
    "Run",
    "Session",
    "Station",
    "load_outcome",
    "load_recipe",
    "load_run",
    "load_station",
    "measure",
    "read_steps",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
