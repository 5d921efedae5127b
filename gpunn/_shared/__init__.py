"""What several ops share: checks of their arguments, and pieces of their formulas. One module for each family."""
