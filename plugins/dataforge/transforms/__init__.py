"""The transforms: one file each, registered by type."""
