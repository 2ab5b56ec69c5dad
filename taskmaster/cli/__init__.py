"""One file per command; the only place that configures logging and ends the process."""
