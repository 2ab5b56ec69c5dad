"""One model of a cluster, for the unit tests and for the simulation: the shipped code on simulated time.

Time and threads    scheduler, process, threads
What surrounds it   network and sockets, disk and appended_file, source, pool, crew
The shipped code    master and slave; watched_master and watched_slave show a watcher what they do
What must hold      oracle with its ledger and witness; master_watch, slave_watch and results_watch; trace; broken
Whole clusters      world: a run with masters and slaves that come and go (masters, slaves, scenario, fates)
                    cluster: driven by hand, step by step (manual_slave, fair_play)
                    fleet: how long some work takes (work, fleet_master, fleet_slave)
Broken parts        parts, mutants

What the models read of the product's private state is in `inside`; what they replace in it is in `master`.
"""
