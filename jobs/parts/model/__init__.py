"""A trained model: its folder, and prediction with its network. No Ray here."""
