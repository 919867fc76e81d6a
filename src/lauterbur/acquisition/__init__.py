"""Play and listen: the twin, a replay, a stream."""
