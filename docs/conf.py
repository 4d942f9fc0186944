"""Sphinx configuration for `make docs`. The pages are plain Markdown, readable without a build."""

import shutil
from pathlib import Path
from typing import Any

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
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sphinx = False


def setup(app: Any) -> None:
    """Publish each page as Markdown, too, at the address that `llms.txt` has."""
    app.connect("build-finished", publish_markdown)


def publish_markdown(app: Any, error: Exception | None) -> None:
    if error is None:
        for page in app.env.found_docs:
            shutil.copyfile(app.env.doc2path(page), Path(app.outdir, f"{page}.md"))
