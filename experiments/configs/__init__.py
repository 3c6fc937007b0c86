"""The configs that gazedx ships; name one without its ending on the command line."""
