"""Settings of the reference site: Sphinx with MyST, the furo theme, and four small extensions in docs/_ext."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT)]

from interp._version import __version__  # noqa: E402

project = "Algoscope"
author = "The Algoscope authors"
copyright = "2026, the Algoscope authors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "mathml",  # formulas as MathML, which browsers draw without a script or a network
    "docstrings",  # docstrings are plain text with `code`, not reStructuredText
    "written",  # pages written from the code and the stored ledgers
]
exclude_patterns = ["_build", "_ext", "**/.ipynb_checkpoints"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# Notebooks are executed before Sphinx starts (docs/_ext/execute.py), by the code as it is.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

default_role = "code"
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Algoscope {version}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#3538a8", "color-brand-content": "#3538a8"},
    "dark_css_variables": {"color-brand-primary": "#a8abff", "color-brand-content": "#a8abff"},
}
pygments_style = "default"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True
