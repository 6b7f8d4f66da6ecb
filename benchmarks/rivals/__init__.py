"""The rivals: each is started as a process of its own and prints one JSON object as its last line."""
