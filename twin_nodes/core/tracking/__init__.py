"""From raw tracker readings to clean, time-stamped poses."""
