"""Pure operations on page images: arrays in, arrays out; no Ray, no files."""
