"""Faults played against the real commands.

What is played     faults (the table), plays, suite, report
A scene            site (its folder), stage (its commands), scene (what is expected), act (the scenes of one fault)
What is done       commands, kills, blow; proxy, peer, disk, and shim inside the product's processes
What is judged     handlers (the job file) and log (its notes), state (what is on disk), oracle, bounds, monitor
"""
