"""A verdict as text: for the terminal and in files."""
