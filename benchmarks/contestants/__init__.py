"""Programs that the scenarios start, each in a process of its own; they print one JSON object or nothing."""
