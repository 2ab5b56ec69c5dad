"""The environment variables by which a fleet and a slave process find each other's pipes.

Names alone: one end is in `children.py`, the other in `slave/orphan.py`, and neither may know the other.
"""

from __future__ import annotations

from typing import Final

#: A descriptor to read: its end means that the parent is gone.
PARENT_FD: Final = "TASKMASTER_PARENT_FD"
#: The parent's process id.
PARENT_PID: Final = "TASKMASTER_PARENT_PID"
#: A descriptor to write lines to: when the slave got through its start, and when it ends, on whose word and how.
WORD_FD: Final = "TASKMASTER_WORD_FD"
