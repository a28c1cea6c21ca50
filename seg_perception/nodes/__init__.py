"""Lifecycle nodes: they wire collaborators and do little else."""
