"""How docs/ becomes a site: `make docs`. The pages are plain Markdown and read as well unbuilt."""

from twelvefold import __version__

project = "Twelvefold"
version = release = __version__
copyright = "The Twelvefold authors"
extensions = ["myst_parser"]

# Anchors as a forge makes them, so that one link leads to its heading here and there.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Twelvefold {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
