"""Methods that drop between decoder layers. One method, one file."""
