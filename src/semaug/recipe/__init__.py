"""What a run is: a recipe, frozen data, and how it is changed and shrunk."""
