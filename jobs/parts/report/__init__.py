"""What the HTML reports share: the frame of a page, how values are shown, charts."""
