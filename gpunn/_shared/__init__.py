"""What several ops share: argument checks and pieces of formulas. One module for each family."""
