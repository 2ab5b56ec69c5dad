"""A master: the source is pulled in one thread, slaves are served in another, state is written in a third."""
