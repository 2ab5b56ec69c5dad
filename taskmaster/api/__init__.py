"""Taskmaster from Python."""
