"""Configuration of the handbook: `python -m sphinx -W docs OUT`, or `qdchar docs`."""

import sys
from pathlib import Path

import qdchar

sys.path.insert(0, str(Path(__file__).parent))

project = "qdchar"
author = "the qdchar authors"
version = release = qdchar.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generate"]
exclude_patterns = ["_build", "measurement-notes.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath"]
html_theme = "furo"
html_title = "qdchar"
html_show_sourcelink = False
html_copy_source = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
nitpicky = False
suppress_warnings = ["ref.python"]  # `name` is an attribute of many classes
