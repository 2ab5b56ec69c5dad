"""Sockets, addresses and keys. It carries frames and does not know what they mean."""
