"""Breaks the library on purpose, one place at a time, and looks whether the tests notice."""
