"""A slave: a control thread that talks to the master, and a pool in which the handler runs."""
