"""Slave processes kept alive, wherever a launcher starts them."""
