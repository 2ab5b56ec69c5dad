"""Where handlers run inside a slave: the protocol in `base`, and a file for each kind of pool."""
