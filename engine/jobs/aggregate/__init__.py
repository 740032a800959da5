"""One answer for many texts: groups of texts of any size, read in parts whose answers are merged. Knows no SQL."""
