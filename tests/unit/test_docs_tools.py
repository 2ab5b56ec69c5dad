"""What builds the documentation: options read from commands, and the check of local links."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs/_ext"))

import local_links  # noqa: E402
import option_tables  # noqa: E402

HELP = """\
Usage: tm-run [OPTIONS] FILE

  Text: with a colon.

What to run:
  --state DIR     Folder  [default: --here]
                  --not-an-option

Output:
  --log-level [debug|info]
                  How much.
  -h, --help      Show this message and exit.
"""


def test_options_stand_under_the_headings_of_help() -> None:
    assert option_tables.headings_of(HELP) == {"--state": "What to run", "--log-level": "Output", "--help": "Output"}


@pytest.mark.parametrize("text, marked", [
    ("Give tcp://HOST:PORT, or ipc://PATH on one.", "Give ``tcp://HOST:PORT``, or ``ipc://PATH`` on one."),
    ("Call handle_job for get_jobs(KEY=VALUE...).", "Call ``handle_job`` for ``get_jobs(KEY=VALUE...)``."),
    ("module:function, file.py or file.py:function", "``module:function``, ``file.py`` or ``file.py:function``"),
    ("See `x*y` and --rate, a*b|c_", "See ``x*y`` and ``--rate``, a\\*b\\|c\\_"),
    ("plain", "plain"),
])
def test_code_in_a_help_text_is_marked_and_the_rest_escaped(text: str, marked: str) -> None:
    assert option_tables._marked(text) == marked


def test_an_option_that_two_commands_share_has_one_row_with_both() -> None:
    [row] = [row for row in option_tables.rows() if row.name == "--size"]

    assert row.commands == ("tm-run", "tm-master")
    assert row.environment == "TASKMASTER_SIZE"


@pytest.mark.parametrize("link, good", [
    ("other.html", True),
    ("other.html#there", True),
    ("#here", True),
    ("#", True),
    ("a%20picture.svg", True),
    ("folder/", True),
    ("https://example.org/gone", True),
    ("mailto:somebody@example.org", True),
    ("gone.html", False),
    ("other.html#gone", False),
    ("#gone", False),
    ("gone.svg", False),
])
def test_a_local_link_leads_to_a_file_and_a_place_in_it(link: str, good: bool, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(f'<p id="here"><a href="{link}">x</a><a href="{link}">x</a></p>')
    (tmp_path / "other.html").write_text('<h1 id="there">x</h1>')
    (tmp_path / "a picture.svg").write_text("<svg/>")
    (tmp_path / "folder").mkdir()

    assert list(local_links.broken_links(tmp_path)) == ([] if good else [f"page.html: {link}"])
    assert local_links.main(str(tmp_path)) == (0 if good else 1)
