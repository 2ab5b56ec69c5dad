"""What tests of several folders need: waiting, processes, and values to test with."""
