"""The sources: one file each, registered by type."""
