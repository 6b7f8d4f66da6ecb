"""Files that are written atomically, read with limits, locked and digested."""
