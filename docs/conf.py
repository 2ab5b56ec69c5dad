"""Sphinx settings; `scripts/docs` builds with warnings as errors."""

import sys
from configparser import ConfigParser
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

_setup = ConfigParser()
_setup.read(HERE.parent / "setup.cfg")

project = "Taskmaster"
author = copyright = _setup["metadata"]["author"]
release = version = _setup["metadata"]["version"]

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
nitpick_ignore_regex = [("py:.*", r"(Any|Callable|Path|collections\..*|pathlib\..*|typing\..*)")]

html_theme = "furo"
html_title = f"Taskmaster {release}"
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
