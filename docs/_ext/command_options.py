"""The directives ``command-options`` and ``command-usage``: what option_tables reads from the commands."""

from __future__ import annotations

from collections.abc import Callable

import option_tables
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles
from sphinx.util.typing import ExtensionMetadata


class _Generated(SphinxDirective):
    text: Callable[[], str]

    def run(self) -> list[nodes.Node]:
        made = nodes.section()
        made.document = self.state.document
        lines = type(self).text().splitlines()
        nested_parse_with_titles(self.state, StringList(lines, source="<the commands>"), made)
        return made.children


class CommandOptions(_Generated):
    text = staticmethod(option_tables.options_text)


class CommandUsage(_Generated):
    text = staticmethod(option_tables.commands_text)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("command-options", CommandOptions)
    app.add_directive("command-usage", CommandUsage)
    return {"parallel_read_safe": True}
