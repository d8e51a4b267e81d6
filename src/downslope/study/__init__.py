"""Looking at a descent, from what it left on disk."""
