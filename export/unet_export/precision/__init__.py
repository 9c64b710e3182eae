"""Number formats of a deployed network: recipes, the search for one that is exact enough, simulation."""
