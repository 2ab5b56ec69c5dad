"""Where handlers run inside a slave; one file for each kind of pool."""
