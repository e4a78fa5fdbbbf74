"""Sphinx: the pages are Markdown, and those of the reference are made from the code."""

import virtsim

project = "virtsim"
author = "The virtsim authors"
copyright = "The virtsim authors"
release = version = virtsim.__version__

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"virtsim {release}"
