"""What the HTML reports share: the layout of a page, how values are shown, charts."""
