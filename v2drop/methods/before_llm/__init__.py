"""Methods that reduce pictures before the language model: in front of the tower, inside it, or behind it."""
