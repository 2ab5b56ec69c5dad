"""Clients of a running master that handle no jobs."""
