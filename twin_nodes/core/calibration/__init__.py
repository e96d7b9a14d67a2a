"""Tool tips, found by pivoting and by dwelling."""
