"""Sphinx settings; `scripts/docs` builds with warnings as errors."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "_ext"))

project = "Taskmaster"
author = copyright = "The Taskmaster authors"
release = version = metadata.version("taskmaster")

extensions = ["sphinx.ext.autodoc", "command_options"]
exclude_patterns = ["_build", "_ext"]
highlight_language = "none"  # a literal block is a drawing or a screen, not Python
default_role = "literal"  # docstrings write `name` for code

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # defaults.ATTEMPTS says more than 3
python_use_unqualified_type_names = True

nitpicky = True
# The standard library's own types: to link them would take the network.
nitpick_ignore_regex = [("py:.*", r"(Any|Callable|Path|collections\..*|datetime\..*|os\..*|pathlib\..*|typing\..*)")]

html_theme = "furo"
html_title = f"Taskmaster {release}"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
