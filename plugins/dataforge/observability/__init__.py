"""Events of a run and the sinks that take them."""
