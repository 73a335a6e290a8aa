"""Make the README's terminal recording from real output: python docs/terminal.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

FILES = "--station lab/station.toml --recipe lab/recipe.toml --link lab/link.toml"
COMMANDS = {"init lab": 6, f"calibrate {FILES} --dry-run": 18}

with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
    console = Console(record=True, width=100, file=nowhere)
    for words, most in COMMANDS.items():
        console.print(f"[bold green]$[/] [bold]qdchar {words}[/]", highlight=False)
        command = [sys.executable, "-m", "qdchar", *words.split()]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        lines = done.stdout.splitlines()
        shown = [*lines[: most - 2], "...", *lines[-2:]] if len(lines) > most else lines
        console.print("\n".join(shown), highlight=False, markup=False)
drawn = console.export_svg(title="qdchar")
drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.S)  # a picture asks no server for fonts
Path(__file__).with_suffix(".svg").write_text(drawn, encoding="utf-8")
