"""Targets whose own tools apply what a plan renders: Truss writes the files, and says the command."""
