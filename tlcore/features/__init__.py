"""What lies below the line: computed once for every example, then read."""
