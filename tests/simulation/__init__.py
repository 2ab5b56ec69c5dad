"""A whole cluster in one thread, from one seed: the shipped loops and core, on a simulated clock, network and disk."""
