"""A slave: a control thread that talks to the master, and a pool of threads in which the handler runs."""
