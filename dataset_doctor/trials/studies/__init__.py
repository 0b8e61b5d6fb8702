"""What is asked of the trials besides the comparison: better settings, models put together, more data."""
