"""Components of a third party."""
