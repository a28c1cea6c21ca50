"""A small street with exact truth."""
