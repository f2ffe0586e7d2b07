"""What every component shares: config models, the values that pass between components, and the registry."""
