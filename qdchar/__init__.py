"""Characterize quantum-dot single-photon sources and predict their QKD key rate."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# In a bare clone `drivers`, `protocols` and `analysis` stand beside this folder;
# installed, they are sub-packages of it. Either way they are imported as `qdchar.drivers` ...
_root = _Path(__file__).parents[1]
if (_root / "protocols" / "__init__.py").exists():
    __path__.append(str(_root))
