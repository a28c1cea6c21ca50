"""Scores, bags and reports."""
