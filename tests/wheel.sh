#!/usr/bin/env bash
# Install a wheel in an environment of its own and use it from a folder with its own `analysis/`.
set -euo pipefail
wheel=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/analysis" "$folder/drivers"
echo 'raise RuntimeError("the wrong analysis was imported")' > "$folder/analysis/__init__.py"
cp "$folder/analysis/__init__.py" "$folder/drivers/__init__.py"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "$wheel"
cd "$folder"
venv/bin/qdchar --version
venv/bin/python -c 'import qdchar.analysis, qdchar.protocols, qdchar.drivers.twin.serve'
venv/bin/python -c 'from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import SHIPPED, load_recipe
for name in SHIPPED: load_recipe(name, MEASUREMENTS)'
venv/bin/qdchar keyrate --loss 14.6 --json | tail -n 1
