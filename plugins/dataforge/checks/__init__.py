"""The checks: one file each, registered by type."""
