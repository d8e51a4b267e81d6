"""What the whole-process parts start: each file is a process of its own."""
