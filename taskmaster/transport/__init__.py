"""Sockets, addresses and keys: frames in, frames out."""
