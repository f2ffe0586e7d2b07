"""From JSON files to pipeline configs: strict reading, findings with their place, defaults, matrix, schema."""
