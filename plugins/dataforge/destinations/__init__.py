"""The destinations: one file each, registered by type."""
