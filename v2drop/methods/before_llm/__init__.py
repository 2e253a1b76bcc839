"""Methods that drop or merge vision tokens before the language model: before, inside or after the vision tower."""
