"""Keeps slave processes alive, wherever a launcher starts them."""
