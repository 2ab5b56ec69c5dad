"""What tests of several folders need: waiting, processes, values, conversations with an agent or a dispatcher."""
