"""A master: one thread pulls the source, one serves the slaves, one writes the state."""
