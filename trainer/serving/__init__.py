"""A trained classifier as one file, and what is done with it: predictions, and a page that makes them."""
