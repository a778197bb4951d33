"""Notebooks -> executed notebooks -> the book."""
