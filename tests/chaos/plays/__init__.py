"""How each fault is played: one function for each, which gets an `Act` and leaves its scenes to be judged."""
