"""Fuzz tests of every parser: see CONTRIBUTING.md."""
