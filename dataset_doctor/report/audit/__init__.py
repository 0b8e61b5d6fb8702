"""An audit's report as text: for the terminal and in files."""
