"""Number formats of a deployed network: recipes, search for a recipe of sufficient accuracy, simulation."""
