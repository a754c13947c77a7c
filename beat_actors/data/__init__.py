"""What is known, for those who read it: things and lists of them, their history, how fresh they are, and what changed."""
