"""Methods that drop between decoder layers: one method, one file. `text_raters` is a base class of two of them."""
