"""From plain words to a pipeline config: what a person says, a model drafts and our own checks prove."""
