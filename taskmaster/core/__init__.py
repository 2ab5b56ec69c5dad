"""The pure part: no socket, file, thread, clock, randomness or logging; time is an argument."""
