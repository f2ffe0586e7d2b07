"""One file for each scenario: what is measured, whom against, and which targets the figures must reach."""
