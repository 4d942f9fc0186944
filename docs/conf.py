"""Sphinx configuration for `make docs`. The pages are plain Markdown, readable without a build."""

from twelvefold import __version__

project = "Twelvefold"
version = release = __version__
copyright = "The Twelvefold authors"
extensions = ["myst_parser"]

# The same heading anchors as on GitHub, so that links work in both places.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Twelvefold {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
