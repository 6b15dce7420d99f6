"""One paper, one composition."""
